"""Which calls of an MCP server a request wants to be asked for: its `require_approval`.

It knows OpenAI's form; what the operator asks for is no less than before, whatever is said here.
"""

from collections.abc import Mapping
from typing import Any

from ossia.errors import RequestError
from ossia.harmony.messages import Namespace


def asked_for(fields: Mapping[str, Any], path: str, server: Namespace) -> tuple[str, ...]:
    """Full names of the tools of which every call needs a yes.

    Tools that `always` names, and where there is a `never`, those that it does not name.

    Args:
        fields: of the tool in the request.
        path: of the tool in the request.
        server: its tools that may be called.

    Raises:
        RequestError: it has another form, or `always` names what is no tool of the server.
    """
    where = f"{path}.require_approval"
    wanted = fields.get("require_approval")
    names = {tool.name for tool in server.tools}
    if wanted in (None, "never"):
        return ()
    if wanted == "always":
        return _full(server, names)
    if not isinstance(wanted, dict):
        raise RequestError(
            f"{where} is {wanted!r:.40}; expected always, never, or an object that has them",
            param=where,
        )
    always = _named(wanted, "always", where) or frozenset()
    never = _named(wanted, "never", where)
    if unknown := always - names if names else None:
        raise RequestError(
            f"{where}.always names {min(unknown)!r:.80}, no tool that the server {server.name} "
            f"offers here; expected some of {', '.join(sorted(names))}",
            param=f"{where}.always.tool_names",
        )
    always &= names
    return _full(server, always if never is None else always | (names - never))


def _full(server: Namespace, names: set[str] | frozenset[str]) -> tuple[str, ...]:
    return tuple(f"{server.name}.{name}" for name in sorted(names))


def _named(wanted: Mapping[str, Any], key: str, where: str) -> frozenset[str] | None:
    """The names in one of the lists; None where there is no list."""
    told = wanted.get(key)
    if told is None:
        return None
    path = f"{where}.{key}"
    names = told.get("tool_names") if isinstance(told, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise RequestError(
            f"{path} has no tool_names; write an object with the list of the tools' names "
            "(read_only is not known here)",
            param=f"{path}.tool_names",
        )
    return frozenset(names)
