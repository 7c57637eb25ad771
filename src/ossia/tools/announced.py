"""How tools are told to the model: built-ins by their trained texts, functions, other namespaces.

Knows the prompt's parts; does not know who asks or who answers.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ossia.harmony.messages import FUNCTIONS, Builtin, FunctionTool, Namespace
from ossia.tools.tool import ToolSpec

_BUILTINS: tuple[Builtin, ...] = ("browser", "python")


@dataclass(frozen=True, slots=True)
class Announced:
    """The parts of a `Conversation` that name tools."""

    builtins: tuple[Builtin, ...]
    functions: tuple[FunctionTool, ...]
    namespaces: tuple[Namespace, ...]


def announced(specs: Iterable[ToolSpec], descriptions: Mapping[str, str] = {}) -> Announced:
    """Sort tools by where the prompt names them.

    Args:
        specs: of every tool; names are unique.
        descriptions: of namespaces that have one, by name.
    """
    groups: dict[str, list[ToolSpec]] = {}
    for spec in specs:
        groups.setdefault(spec.name.split(".")[0], []).append(spec)
    return Announced(
        builtins=tuple(name for name in _BUILTINS if name in groups),
        functions=tuple(map(_function, groups.get(FUNCTIONS, ()))),
        namespaces=tuple(
            Namespace(name, descriptions.get(name, ""), tuple(map(_function, tools)))
            for name, tools in groups.items()
            if name not in (*_BUILTINS, FUNCTIONS)
        ),
    )


def _function(spec: ToolSpec) -> FunctionTool:
    name = spec.name.partition(".")[2] or spec.name
    return FunctionTool(
        name=name, description=spec.description, parameters=spec.parameters, body=spec.body
    )
