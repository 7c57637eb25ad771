"""Built-in tools (browser, Python, MCP servers) as requests name and choose them.

Knows OpenAI's names for them; runs none. Callers pass the available ones.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from ossia.errors import RequestError
from ossia.harmony.messages import Builtin, Namespace
from ossia.harmony.prompt_text import BUILTINS

BUILTIN_TYPES: Mapping[str, Builtin] = MappingProxyType(
    {
        "web_search": "browser",
        "web_search_2025_08_26": "browser",
        "web_search_preview": "browser",
        "web_search_preview_2025_03_11": "browser",
        "browser_search": "browser",
        "code_interpreter": "python",
    }
)
"""OpenAI's tool types -> names in the prompt."""


def read_server(
    fields: Mapping[str, Any], path: str, available: Mapping[str, Namespace]
) -> Namespace | None:
    """Return the MCP server that a tool of a request names, with the allowed tools.

    Returns:
        None if there is no such server, or none of its tools is allowed.

    Raises:
        RequestError: it names a server by URL, or is malformed.
    """
    if fields.get("server_url") is not None:
        raise RequestError(
            f"{path}.server_url is not taken: servers are chosen by the operator; name one by its "
            "server_label",
            param=f"{path}.server_url",
            code="unsupported_parameter",
        )
    label = fields.get("server_label")
    if not isinstance(label, str) or label in BUILTINS or label not in available:
        return None
    server = available[label]
    allowed = _allowed(fields.get("allowed_tools"), f"{path}.allowed_tools")
    if allowed is None or not server.tools:
        return server
    tools = tuple(tool for tool in server.tools if tool.name in allowed)
    return replace(server, tools=tools) if tools else None


def names_in(
    choice: Mapping[str, Any], builtins: Sequence[Builtin], servers: Sequence[Namespace]
) -> tuple[str, ...]:
    """Return the full names of the available tools that a choice covers."""
    kind = choice.get("type")
    if kind == "mcp":
        label, name = choice.get("server_label"), choice.get("name")
        return tuple(
            f"{server.name}.{tool.name}"
            for server in servers
            for tool in server.tools
            if server.name == label and name in (None, tool.name)
        )
    builtin = BUILTIN_TYPES.get(kind) if isinstance(kind, str) else None
    if builtin is None or builtin not in builtins:
        return ()
    return tuple(f"{builtin}.{tool.name}" for tool in BUILTINS[builtin].tools) or (builtin,)


def _allowed(value: object, path: str) -> frozenset[str] | None:
    """Return the names in `allowed_tools`; None allows all."""
    if isinstance(value, dict):
        names = value.get("tool_names")
        if names is None and value.get("read_only") is not None:
            raise RequestError(
                f"{path} asks for tools by read_only, which is not known here; name them in "
                f"{path}.tool_names",
                param=f"{path}.read_only",
            )
        value, path = names, f"{path}.tool_names"
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise RequestError(f"{path} is not a list of names; list tools of the server", param=path)
    return frozenset(value)


def required_approvals(fields: Mapping[str, Any], path: str, server: Namespace) -> tuple[str, ...]:
    """Return the full names of the tools whose calls need approval.

    That is: tools named in `always` and, if there is a `never`, those not named there.

    Args:
        fields: of the tool in the request.
        path: of the tool in the request.
        server: its tools that may be called.

    Raises:
        RequestError: it is malformed, or `always` names an unknown tool.
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
    """Return the names in one of the lists; None if the list is absent."""
    filter_ = wanted.get(key)
    if filter_ is None:
        return None
    path = f"{where}.{key}"
    names = filter_.get("tool_names") if isinstance(filter_, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise RequestError(
            f"{path} has no tool_names; write an object with the list of the tools' names "
            "(read_only is not known here)",
            param=f"{path}.tool_names",
        )
    return frozenset(names)
