"""Parses `tools` of both APIs.

Knows how OpenAI writes tools; runs none and knows no grammar.
"""

import hashlib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, get_args

from ossia.errors import RequestError
from ossia.harmony.messages import MAX_TOOLS, Builtin, FunctionTool, Namespace, Role
from ossia.harmony.schema_rules import check_together
from ossia.server.api.builtin_tools import BUILTIN_TYPES, read_server, required_approvals
from ossia.server.api.errors import Forbidden

Form = Literal["chat", "responses"]
Kind = Literal["function", "custom"]

MAX_DESCRIPTION = 64 << 10
MAX_GRAMMAR = 8 << 10
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_ROLES = frozenset((*get_args(Role), "system"))
_MAX_NAME = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestTools:
    """The tools of one request."""

    functions: tuple[FunctionTool, ...] = ()
    schema_paths: Mapping[str, str] = field(default_factory=dict)
    """Path of each function's schema or grammar in the request, by the function's name."""
    ignored: tuple[str, ...] = ()
    """Paths of skipped tools, for the header that lists them."""
    kinds: Mapping[str, Kind] = field(default_factory=dict)
    namespaces: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Namespace and own name of functions in namespaces, by joined name."""

    builtins: tuple[Builtin, ...] = ()
    servers: tuple[Namespace, ...] = ()
    """MCP servers, each with its allowed tools; one without tools could not be reached."""
    asks: tuple[str, ...] = ()
    """Full names of MCP tools whose calls need approval."""

    @property
    def runs_here(self) -> bool:
        """Whether any tool runs on this server."""
        return bool(self.builtins or self.servers)

    @property
    def can_be_called(self) -> bool:
        """Whether any tool can be called."""
        reached = any(server.tools for server in self.servers)
        return bool(self.functions or self.builtins or reached)

    @property
    def callable_servers(self) -> tuple[Namespace, ...]:
        """The MCP servers that appear in the prompt."""
        return tuple(server for server in self.servers if server.tools)

    def named(self, name: object, namespace: object = None) -> str | None:
        """Resolve a client's name of a tool to its name in the prompt, or None."""
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


NOTHING: Mapping[str, Namespace] = MappingProxyType({})


def parse_tools(
    tools: Sequence[object] | None, *, form: Form, available: Mapping[str, Namespace] = NOTHING
) -> RequestTools:
    """Parse the `tools` of a request.

    Args:
        tools: as OpenAI writes them; None is none.
        form: how functions are written: flat (responses), or inside an object of their own (chat).
        available: built-in tools: `browser`, `python`, and MCP servers by label; a server
            without tools cannot be reached now.

    Raises:
        RequestError: a tool of a known type is invalid; `param` is its path.
            Tools of other types are not an error: `ignored` lists them.
    """
    tools = tools or ()
    if len(tools) > MAX_TOOLS:
        raise RequestError(
            f"{len(tools)} tools are offered; at most {MAX_TOOLS} are taken; offer fewer",
            param="tools",
        )
    reader = _Reader(form, available)
    for at, tool in enumerate(tools):
        reader.read(tool, f"tools[{at}]")
    num = len(reader.functions) + sum(len(server.tools) for server in reader.servers.values())
    if num > MAX_TOOLS:
        raise RequestError(
            f"{num} functions are offered, those of namespaces and servers counted; at most "
            f"{MAX_TOOLS} are taken; offer fewer",
            param="tools",
        )
    if "python" in reader.builtins and "python" in reader.kinds:
        raise RequestError(
            "a function is called python, as is what code_interpreter offers; rename it",
            param="tools",
        )
    return RequestTools(
        functions=tuple(reader.functions),
        schema_paths=reader.schema_paths,
        ignored=tuple(reader.ignored),
        kinds=reader.kinds,
        namespaces=reader.namespaces,
        builtins=tuple(reader.builtins),
        servers=tuple(reader.servers.values()),
        asks=tuple(reader.asks),
    )


def require_scope(tools: RequestTools, scopes: Collection[str]) -> None:
    """Refuse built-in tools to a caller without permission.

    Raises:
        Forbidden: the request has built-in tools, the caller lacks the scope `tools`.
    """
    if tools.runs_here and "tools" not in scopes:
        raise Forbidden(
            "this key lacks the scope tools, so no web_search, code_interpreter or mcp is run for "
            "it; an operator makes one that has it: ossia keys add NAME --scope tools",
            "missing_scope",
        )


def joined(namespace: str, name: str) -> str:
    """Join namespace and function to one name, within the length limit of names."""
    whole = f"{namespace}{name}" if namespace.endswith("__") else f"{namespace}__{name}"
    if len(whole) <= _MAX_NAME:
        return whole
    digest = hashlib.sha256(whole.encode()).hexdigest()[:10]
    return f"{whole[: _MAX_NAME - 11]}_{digest}"


class _Reader:
    """Reads the tools of one request."""

    def __init__(self, form: Form, available: Mapping[str, Namespace]) -> None:
        self._form = form
        self._available = available
        self.builtins: dict[Builtin, None] = {}
        self.servers: dict[str, Namespace] = {}
        self.asks: list[str] = []
        self.functions: list[FunctionTool] = []
        self.schema_paths: dict[str, str] = {}
        self.ignored: list[str] = []
        self.kinds: dict[str, Kind] = {}
        self.namespaces: dict[str, tuple[str, str]] = {}
        self._num_parts = 0

    def read(self, tool: object, path: str) -> None:
        """Read one tool of the list."""
        fields = object_at(tool, path)
        kind = type_at(fields, path)
        if kind == "namespace" and self._form == "responses":
            self._namespace(fields, path)
        elif kind in get_args(Kind):
            inner = f"{path}.{kind}" if self._form == "chat" else path
            inside = object_at(fields.get(kind), inner) if self._form == "chat" else fields
            name = _name(inside, inner)
            if kind == "function":
                self._function(inside, inner, name)
            else:
                self._custom(inside, inner, name)
        elif BUILTIN_TYPES.get(kind) in self._available:
            self.builtins[BUILTIN_TYPES[kind]] = None
        elif kind == "mcp" and (server := read_server(fields, path, self._available)):
            if server.name in self.servers:
                raise RequestError(
                    f"{path}.server_label is {server.name!r}, that of an earlier tool; name each "
                    "server once",
                    param=f"{path}.server_label",
                )
            self.servers[server.name] = server
            self.asks += required_approvals(fields, path, server)
        else:
            self.ignored.append(path)

    def _namespace(self, fields: Mapping[str, Any], path: str) -> None:
        space = _name(fields, path)
        inner = fields.get("tools")
        if not isinstance(inner, list) or len(inner) > MAX_TOOLS:
            raise RequestError(
                f"{path}.tools is not a list of at most {MAX_TOOLS} tools; list the functions of "
                f"the namespace {space}",
                param=f"{path}.tools",
            )
        for at, tool in enumerate(inner):
            where = f"{path}.tools[{at}]"
            one = object_at(tool, where)
            kind = type_at(one, where)
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
            raise RequestError(f"{where} is not an object; expected a JSON schema", param=where)
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
        except RequestError as error:  # the other fields are checked: it is the schema
            raise RequestError(str(error), param=where, code="invalid_json_schema") from None
        self._add(tool, "function", path)
        self.schema_paths[name] = where

    def _custom(self, fields: Mapping[str, Any], path: str, name: str) -> None:
        description = _text(fields, "description", path, MAX_DESCRIPTION)
        form = fields.get("format")
        if grammar := None if form is None else self._grammar(form, f"{path}.format", name):
            note = "The input must match this {} grammar:\n{}".format(*grammar)
            description = f"{description}\n\n{note}" if description else note
        tool = FunctionTool(
            name=name, description=description, input_format="text", grammar=grammar
        )
        self._add(tool, "custom", path)

    def _grammar(
        self, form: object, path: str, name: str
    ) -> tuple[Literal["lark", "regex"], str] | None:
        """Return the grammar of the input; None for any text."""
        fields = object_at(form, path)
        kind = type_at(fields, path)
        if kind == "text":
            return None
        if kind != "grammar":
            raise RequestError(
                f"{path}.type is {kind!r:.40}; expected text or grammar", param=f"{path}.type"
            )
        if self._form == "chat":
            path = f"{path}.grammar"
            fields = object_at(fields.get("grammar"), path)
        syntax = fields.get("syntax")
        if syntax not in ("lark", "regex"):
            raise RequestError(
                f"{path}.syntax is {syntax!r:.40}; expected lark or regex", param=f"{path}.syntax"
            )
        definition = _text(fields, "definition", path, MAX_GRAMMAR)
        where = f"{path}.definition"
        if not definition:
            raise RequestError(f"{where} is missing; add it", param=where, code="missing_field")
        self.schema_paths[name] = where
        return syntax, definition

    def _add(self, tool: FunctionTool, kind: Kind, path: str) -> None:
        if tool.name in self.kinds:
            raise RequestError(
                f"{path}.name is {tool.name!r}, the name of an earlier tool; name each once",
                param=f"{path}.name",
            )
        self.functions.append(tool)
        self.kinds[tool.name] = kind
        self._num_parts += tool.num_parts
        try:
            check_together(self._num_parts)  # at once: each schema costs time
        except RequestError as error:
            raise RequestError(str(error), param="tools", code="invalid_json_schema") from None


def object_at(value: object, path: str) -> Mapping[str, Any]:
    """Return the object at a path; RequestError if it is not an object."""
    if value is None:
        raise RequestError(f"{path} is missing; add it", param=path, code="missing_field")
    if not isinstance(value, dict):
        raise RequestError(f"{path} is not an object; expected an object", param=path)
    return value


def type_at(fields: Mapping[str, Any], path: str) -> str:
    """Return the `type` of the object at a path; RequestError if it has none."""
    kind = fields.get("type")
    if kind is None:
        raise RequestError(
            f"{path}.type is missing; add it", param=f"{path}.type", code="missing_field"
        )
    if not isinstance(kind, str):
        raise RequestError(f"{path}.type is not a string; expected one", param=f"{path}.type")
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
    if name in _ROLES:  # a tool of this name could pass for the role
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
            f"{path}.{key} is not a string of at most {most} characters; shorten it",
            param=f"{path}.{key}",
        )
    return text
