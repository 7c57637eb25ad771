"""Parses `tool_choice` of both APIs.

Knows how OpenAI writes choices; the tools are parsed before.
"""

from collections.abc import Mapping
from typing import Any, get_args

from ossia.errors import RequestError
from ossia.harmony.messages import MAX_TOOLS
from ossia.harmony.output_rules import CHOICES
from ossia.server.api.builtin_tools import names_in
from ossia.server.api.tools import Kind, RequestTools, object_at, type_at


def parse_tool_choice(choice: object, tools: RequestTools) -> tuple[str, tuple[str, ...] | None]:
    """Parse `tool_choice` in either API's form.

    Returns:
        auto, none, required or the name of the tool that must be called; and the names of
        those that may be called, None for all. A function whose name is one of the three
        words, and a group of tools, is chosen by `required` with only itself allowed.

    Raises:
        RequestError: it is malformed, or names a tool that is unavailable or unusable.
    """
    if choice is None:
        return "auto", None
    if isinstance(choice, str) and choice in CHOICES:
        if choice == "required" and not tools.can_be_called:
            raise _nothing_to_call(tools)
        return choice, None
    if not isinstance(choice, dict):
        raise RequestError(
            f"tool_choice is {choice!r:.40}; expected {', '.join(CHOICES)}, or an object that "
            "names a tool",
            param="tool_choice",
        )
    kind = type_at(choice, "tool_choice")
    if kind == "allowed_tools":
        return _allowed(choice, tools)
    names = _chosen(choice, tools, "tool_choice")
    if len(names) > 1 or names[0] in CHOICES:
        return "required", names
    return names[0], None


def _allowed(choice: Mapping[str, Any], tools: RequestTools) -> tuple[str, tuple[str, ...] | None]:
    path = "tool_choice"
    if "allowed_tools" in choice:  # Chat Completions puts it into an object of its own
        path = "tool_choice.allowed_tools"
        choice = object_at(choice["allowed_tools"], path)
    mode, listed = choice.get("mode"), choice.get("tools")
    if mode not in ("auto", "required"):
        raise RequestError(
            f"{path}.mode is {mode!r:.40}; expected auto or required", param=f"{path}.mode"
        )
    if not isinstance(listed, list) or len(listed) > MAX_TOOLS:
        raise RequestError(
            f"{path}.tools is not a list of at most {MAX_TOOLS} tools; list those that are allowed",
            param=f"{path}.tools",
        )
    names: dict[str, None] = {}
    for at, tool in enumerate(listed):
        where = f"{path}.tools[{at}]"
        fields = object_at(tool, where)
        kind = type_at(fields, where)
        if kind == "namespace":
            wanted = fields.get("name")
            inner = [name for name, (space, _) in tools.namespaces.items() if space == wanted]
            names.update(dict.fromkeys(inner))
        elif kind in get_args(Kind):  # others are skipped here as they are among the tools
            names.update(dict.fromkeys(_chosen(fields, tools, where)))
        else:
            names.update(dict.fromkeys(names_in(fields, tools.builtins, tools.servers)))
    if mode == "required" and not names:
        raise _nothing_to_call(tools)
    return mode, tuple(names)


def _chosen(choice: Mapping[str, Any], tools: RequestTools, path: str) -> tuple[str, ...]:
    """Return the tool that an object names, or the tools of the group it names."""
    kind = type_at(choice, path)
    if kind not in get_args(Kind):
        if names := names_in(choice, tools.builtins, tools.servers):
            return names
        raise RequestError(
            f"{path} asks for a tool of type {kind!r:.40}, which this server does not have or the "
            "request does not offer; choose one of its tools, or auto",
            param=path,
            code="tool_unavailable",
        )
    if kind in choice:  # Chat Completions
        path = f"{path}.{kind}"
        choice = object_at(choice[kind], path)
    name = tools.named(choice.get("name"), choice.get("namespace"))
    if name is None:
        raise RequestError(
            f"{path}.name is {choice.get('name')!r:.80}, which is not offered; name a tool of the "
            "request",
            param=f"{path}.name",
        )
    return (name,)


def _nothing_to_call(tools: RequestTools) -> RequestError:
    """Create the error for a required call without a callable tool."""
    return RequestError(
        "tool_choice requires a tool call, but no tool that can be called is offered; offer a "
        "function, or choose auto",
        param="tool_choice",
        code="tool_unavailable" if tools.ignored else "invalid_value",
    )
