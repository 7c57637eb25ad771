"""The tools a request offers and the choice it makes among them, for both APIs.

It knows how OpenAI writes tools; it runs none and knows nothing of the frame that enforces them.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from ossia.errors import RequestError
from ossia.harmony.frame_rules import CHOICES
from ossia.harmony.messages import MAX_TOOLS, FunctionTool, Role

Form = Literal["chat", "responses"]
Kind = Literal["function", "custom"]

MAX_DESCRIPTION = 64 << 10
MAX_GRAMMAR = 8 << 10
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_ROLES = frozenset((*get_args(Role), "system"))
_MAX_NAME = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """The tools of one request."""

    functions: tuple[FunctionTool, ...] = ()
    schema_paths: Mapping[str, str] = field(default_factory=dict)
    """Where each function's schema stood in the request, by the function's name."""
    ignored: tuple[str, ...] = ()
    """Paths of what was skipped, for the header that names it."""
    kinds: Mapping[str, Kind] = field(default_factory=dict)
    namespaces: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Of functions in a namespace, by our joined name: the namespace, and their own name in it."""

    def named(self, name: object, namespace: object = None) -> str | None:
        """Our name of the tool a client calls so; None where it is not offered."""
        if not isinstance(name, str):
            return None
        if namespace is None and name in self.kinds:
            return name
        found = [
            ours
            for ours, (space, inner) in self.namespaces.items()
            if inner == name and namespace in (None, space)
        ]
        return found[0] if len(found) == 1 else None


def parse_tools(tools: Sequence[object] | None, *, form: Form) -> Offered:
    """Read the `tools` of a request.

    Args:
        tools: as OpenAI writes them; None is none.
        form: how functions are written: flat (responses), or inside an object of their own (chat).

    Raises:
        RequestError: a tool of a known form is not what it should be; `param` says where.
            Tools of other types are no error: they are named in `ignored`.
    """
    tools = tools or ()
    if len(tools) > MAX_TOOLS:
        raise RequestError(
            f"{len(tools)} tools are offered; at most {MAX_TOOLS} are taken; offer fewer",
            param="tools",
        )
    reader = _Reader(form)
    for at, tool in enumerate(tools):
        reader.read(tool, f"tools[{at}]")
    if len(reader.functions) > MAX_TOOLS:
        raise RequestError(
            f"{len(reader.functions)} functions are offered, those of namespaces counted; at most "
            f"{MAX_TOOLS} are taken; offer fewer",
            param="tools",
        )
    return Offered(
        functions=tuple(reader.functions),
        schema_paths=reader.schema_paths,
        ignored=tuple(reader.ignored),
        kinds=reader.kinds,
        namespaces=reader.namespaces,
    )


def joined(namespace: str, name: str) -> str:
    """What a function of a namespace is called here: no longer than a name may be."""
    whole = f"{namespace}{name}" if namespace.endswith("__") else f"{namespace}__{name}"
    if len(whole) <= _MAX_NAME:
        return whole
    digest = hashlib.sha256(whole.encode()).hexdigest()[:10]
    return f"{whole[: _MAX_NAME - 11]}_{digest}"


class _Reader:
    """One walk over the tools of a request."""

    def __init__(self, form: Form) -> None:
        self._form = form
        self.functions: list[FunctionTool] = []
        self.schema_paths: dict[str, str] = {}
        self.ignored: list[str] = []
        self.kinds: dict[str, Kind] = {}
        self.namespaces: dict[str, tuple[str, str]] = {}

    def read(self, tool: object, path: str) -> None:
        """One tool of the list."""
        fields = _object(tool, path)
        kind = _type_of(fields, path)
        if kind == "namespace" and self._form == "responses":
            self._namespace(fields, path)
        elif kind in get_args(Kind):
            inner = f"{path}.{kind}" if self._form == "chat" else path
            inside = _object(fields.get(kind), inner) if self._form == "chat" else fields
            name = _name(inside, inner)
            if kind == "function":
                self._function(inside, inner, name)
            else:
                self._custom(inside, inner, name)
        else:
            self.ignored.append(path)

    def _namespace(self, fields: Mapping[str, Any], path: str) -> None:
        space = _name(fields, path)
        inner = fields.get("tools")
        if not isinstance(inner, list) or len(inner) > MAX_TOOLS:
            raise RequestError(
                f"{path}.tools is no list of at most {MAX_TOOLS} tools; list the functions of "
                f"the namespace {space}",
                param=f"{path}.tools",
            )
        for at, tool in enumerate(inner):
            where = f"{path}.tools[{at}]"
            one = _object(tool, where)
            kind = _type_of(one, where)
            if kind not in get_args(Kind):
                self.ignored.append(where)
                continue
            own = _name(one, where)
            name = joined(space, own)
            self.namespaces[name] = (space, own)
            if kind == "function":
                self._function(one, where, name)
            else:
                self._custom(one, where, name)

    def _function(self, fields: Mapping[str, Any], path: str, name: str) -> None:
        parameters, strict = fields.get("parameters"), fields.get("strict")
        where = f"{path}.parameters"
        if parameters is not None and not isinstance(parameters, dict):
            raise RequestError(f"{where} is no object; expected a JSON schema", param=where)
        if strict is not None and not isinstance(strict, bool):
            raise RequestError(
                f"{path}.strict is neither true nor false; write one of them or leave it out",
                param=f"{path}.strict",
            )
        description = _text(fields, "description", path, MAX_DESCRIPTION)
        try:
            tool = FunctionTool(
                name=name, description=description, parameters=parameters, strict=bool(strict)
            )
        except RequestError as error:  # all else was looked at: it is the schema
            raise RequestError(str(error), param=where, code="invalid_json_schema") from None
        self._add(tool, "function", path)
        self.schema_paths[name] = where

    def _custom(self, fields: Mapping[str, Any], path: str, name: str) -> None:
        description = _text(fields, "description", path, MAX_DESCRIPTION)
        if told := self._grammar(fields.get("format"), f"{path}.format"):
            description = f"{description}\n\n{told}" if description else told
        self._add(FunctionTool(name=name, description=description, body="text"), "custom", path)

    def _grammar(self, form: object, path: str) -> str:
        """What the model is told of the input's grammar, which nothing enforces; "" for text."""
        if form is None:
            return ""
        fields = _object(form, path)
        kind = _type_of(fields, path)
        if kind == "text":
            return ""
        if kind != "grammar":
            raise RequestError(
                f"{path}.type is {kind!r:.40}; expected text or grammar", param=f"{path}.type"
            )
        if self._form == "chat":
            path = f"{path}.grammar"
            fields = _object(fields.get("grammar"), path)
        syntax = fields.get("syntax")
        if syntax not in ("lark", "regex"):
            raise RequestError(
                f"{path}.syntax is {syntax!r:.40}; expected lark or regex", param=f"{path}.syntax"
            )
        definition = _text(fields, "definition", path, MAX_GRAMMAR)
        self.ignored.append(path)
        return f"The input must match this {syntax} grammar:\n{definition}"

    def _add(self, tool: FunctionTool, kind: Kind, path: str) -> None:
        if tool.name in self.kinds:
            raise RequestError(
                f"{path}.name is {tool.name!r}, the name of an earlier tool; name each once",
                param=f"{path}.name",
            )
        self.functions.append(tool)
        self.kinds[tool.name] = kind


def parse_tool_choice(choice: object, offered: Offered) -> tuple[str, tuple[str, ...] | None]:
    """Read the `tool_choice` of a request, in either API's form.

    Returns:
        auto, none, required or the name of the function that must be called; and the names of
        those that may be called, None for all. A function whose own name is one of the three
        words is chosen by `required` with only itself allowed.

    Raises:
        RequestError: it has no such form, or names a tool that is not offered or cannot be used.
    """
    if choice is None:
        return "auto", None
    if isinstance(choice, str) and choice in CHOICES:
        if choice == "required" and not offered.functions:
            raise _nothing_to_call(offered)
        return choice, None
    if not isinstance(choice, dict):
        raise RequestError(
            f"tool_choice is {choice!r:.40}; expected {', '.join(CHOICES)}, or an object that "
            "names a tool",
            param="tool_choice",
        )
    kind = _type_of(choice, "tool_choice")
    if kind == "allowed_tools":
        return _allowed(choice, offered)
    name = _chosen(choice, offered, "tool_choice")
    return ("required", (name,)) if name in CHOICES else (name, None)


def _allowed(choice: Mapping[str, Any], offered: Offered) -> tuple[str, tuple[str, ...] | None]:
    path = "tool_choice"
    if "allowed_tools" in choice:  # Chat Completions puts it into an object of its own
        path = "tool_choice.allowed_tools"
        choice = _object(choice["allowed_tools"], path)
    mode, listed = choice.get("mode"), choice.get("tools")
    if mode not in ("auto", "required"):
        raise RequestError(
            f"{path}.mode is {mode!r:.40}; expected auto or required", param=f"{path}.mode"
        )
    if not isinstance(listed, list) or len(listed) > MAX_TOOLS:
        raise RequestError(
            f"{path}.tools is no list of at most {MAX_TOOLS} tools; list those that are allowed",
            param=f"{path}.tools",
        )
    names: dict[str, None] = {}
    for at, tool in enumerate(listed):
        where = f"{path}.tools[{at}]"
        fields = _object(tool, where)
        kind = _type_of(fields, where)
        if kind == "namespace":
            wanted = fields.get("name")
            inner = [name for name, (space, _) in offered.namespaces.items() if space == wanted]
            names.update(dict.fromkeys(inner))
        elif kind in get_args(Kind):  # others are skipped here as they are among the tools
            names[_chosen(fields, offered, where)] = None
    if mode == "required" and not names:
        raise _nothing_to_call(offered)
    return mode, tuple(names)


def _chosen(choice: Mapping[str, Any], offered: Offered, path: str) -> str:
    """The one tool that an object names."""
    kind = _type_of(choice, path)
    if kind not in get_args(Kind):
        raise RequestError(
            f"{path} asks for a tool of type {kind!r:.40}, which this server does not have; "
            "choose a function, or auto",
            param=path,
            code="tool_unavailable",
        )
    if kind in choice:  # Chat Completions
        path = f"{path}.{kind}"
        choice = _object(choice[kind], path)
    name = offered.named(choice.get("name"), choice.get("namespace"))
    if name is None:
        raise RequestError(
            f"{path}.name is {choice.get('name')!r:.80}, which is not offered; name a tool of the "
            "request",
            param=f"{path}.name",
        )
    return name


def _nothing_to_call(offered: Offered) -> RequestError:
    """A call is required where none is possible."""
    return RequestError(
        "tool_choice requires a tool call, but no tool that can be called is offered; offer a "
        "function, or choose auto",
        param="tool_choice",
        code="tool_unavailable" if offered.ignored else "invalid_value",
    )


def _object(value: object, path: str) -> Mapping[str, Any]:
    if value is None:
        raise RequestError(f"{path} is missing; add it", param=path, code="missing_field")
    if not isinstance(value, dict):
        raise RequestError(f"{path} is no object; expected an object", param=path)
    return value


def _type_of(fields: Mapping[str, Any], path: str) -> str:
    kind = fields.get("type")
    if kind is None:
        raise RequestError(
            f"{path}.type is missing; add it", param=f"{path}.type", code="missing_field"
        )
    if not isinstance(kind, str):
        raise RequestError(f"{path}.type is no string; expected one", param=f"{path}.type")
    return kind


def _name(fields: Mapping[str, Any], path: str) -> str:
    name = fields.get("name")
    if name is None:
        raise RequestError(
            f"{path}.name is missing; add it", param=f"{path}.name", code="missing_field"
        )
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise RequestError(
            f"{path}.name is {name!r:.80}; expected 1 to 64 letters, digits, underscores or dashes",
            param=f"{path}.name",
        )
    if name in _ROLES:  # what speaks under such a name could be taken for the role
        raise RequestError(
            f"{path}.name is {name!r}, the name of a role; choose another", param=f"{path}.name"
        )
    return name


def _text(fields: Mapping[str, Any], key: str, path: str, most: int) -> str:
    text = fields.get(key)
    if text is None:
        return ""
    if not isinstance(text, str) or len(text) > most:
        raise RequestError(
            f"{path}.{key} is no string of at most {most} characters; shorten it",
            param=f"{path}.{key}",
        )
    return text
