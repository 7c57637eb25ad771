"""Output items of built-in tools, and the table of all output item classes.

The item of a web search, of Python or of an MCP tool stays open until its tool has run. A new type
of item is a new class and its line in `ITEM_CLASSES`.
"""

import json
from abc import abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from ossia.chat.events import (
    ApprovalRequested,
    PartFinished,
    PartStarted,
    TokenLogprob,
    ToolFinished,
)
from ossia.server.responses.items import REQUEST_PREFIX
from ossia.server.responses.objects import (
    OUTPUTS,
    RESULTS,
    SOURCES,
    Json,
    ResponseSettings,
    tool_kind,
)
from ossia.server.responses.output_items import (
    AnswerItem,
    CustomCallItem,
    FunctionCallItem,
    ItemContext,
    ItemStatus,
    OutputItem,
    PreambleItem,
    ReasoningItem,
)
from ossia.tools.tool import ToolResult


class ToolItem(OutputItem):
    """A call of a built-in tool."""

    def __init__(self, context: ItemContext) -> None:
        super().__init__(context)
        self._result: ToolResult | None = None
        self._is_called = False

    def push(self, event: object) -> list[Json]:
        match event:
            case PartFinished(_, True):
                self._is_called = True
                return self._called()
            case PartFinished():
                return self.close("incomplete")
            case ToolFinished(result=result):
                self._result = result
                return self.close("failed" if result.is_error else "completed")
            case _:  # a complete call takes no more text
                return [] if self._is_called else super().push(event)

    def close(self, status: ItemStatus, *, is_exact: bool = False) -> list[Json]:
        before = [] if self._is_called else self._cut()
        self.status = status
        return [*before, *self._ended(), self._done()]

    @abstractmethod
    def _called(self) -> list[Json]:
        """Return the events when the call is complete."""

    @abstractmethod
    def _cut(self) -> list[Json]:
        """Return the events when the call was cut off."""

    @abstractmethod
    def _ended(self) -> list[Json]:
        """Return the events between the call and the end of its item, with its final status."""


class WebSearchItem(ToolItem):
    """A call of the browser; shown when its arguments are complete, since it needs an action."""

    prefix = "ws"

    def json(self) -> Json:
        item: Json = {
            "id": self.id,
            "type": "web_search_call",
            "status": self.status,
            "action": self._action(),
        }
        if self._result is not None and RESULTS in self._context.settings.includes:
            item["results"] = [{"type": "text", "text": self._result.text}]
        return item

    def open(self) -> list[Json]:
        self.is_visible = False
        return []

    def _called(self) -> list[Json]:
        return [*self._cut(), self._event("web_search_call.searching")]

    def _cut(self) -> list[Json]:
        self.is_visible = True
        return [self._added(self.json()), self._event("web_search_call.in_progress")]

    def _ended(self) -> list[Json]:
        is_whole = self.status == "completed"
        return [self._event("web_search_call.completed")] if is_whole else []

    def _write(self, text: str, logprobs: tuple[TokenLogprob, ...]) -> list[Json]:
        self._pieces.append(text)
        return []

    def _action(self) -> Json:
        """Return the action that the browser reports; before it ran, the requested one."""
        done = {} if self._result is None else self._result.details
        if "type" not in done:
            done = _requested_action(self._context.part.name, "".join(self._pieces))
        match done["type"]:
            case "open_page":
                return {"type": "open_page", "url": done.get("url")}
            case "find_in_page":
                url, pattern = done.get("url") or "", done.get("pattern") or ""
                return {"type": "find_in_page", "url": url, "pattern": pattern}
        action = {"type": "search", "query": done.get("query") or ""}
        if SOURCES in self._context.settings.includes:
            action["sources"] = list(done.get("sources", ()))
        return action


class CodeItem(ToolItem):
    """A call of Python."""

    prefix = "ci"

    def json(self) -> Json:
        ran = {} if self._result is None else self._result.details
        has_outputs = OUTPUTS in self._context.settings.includes and "outputs" in ran
        return {
            "id": self.id,
            "type": "code_interpreter_call",
            "status": self.status,
            "container_id": ran.get("container_id") or self._context.settings.container_id,
            "code": "".join(self._pieces),
            "outputs": list(ran["outputs"]) if has_outputs else None,
        }

    def open(self) -> list[Json]:
        return [*super().open(), self._event("code_interpreter_call.in_progress")]

    def _called(self) -> list[Json]:
        return [*self._cut(), self._event("code_interpreter_call.interpreting")]

    def _cut(self) -> list[Json]:
        return [self._event("code_interpreter_call_code.done", code="".join(self._pieces))]

    def _ended(self) -> list[Json]:
        is_whole = self.status == "completed"
        return [self._event("code_interpreter_call.completed")] if is_whole else []

    def _write(self, text: str, logprobs: tuple[TokenLogprob, ...]) -> list[Json]:
        if not text:
            return []
        self._pieces.append(text)
        return [self._event("code_interpreter_call_code.delta", delta=text)]


class McpCallItem(ToolItem):
    """A call of an MCP tool; shown when complete, since it may need approval."""

    prefix = "mcp"

    def json(self) -> Json:
        label, _, name = self._context.part.name.partition(".")
        output, error = None, None
        if self._result is not None:
            output = self._result.text
        if self._result is not None and self._result.is_error:
            content = [{"type": "text", "text": output}]
            output, error = None, {"type": "mcp_tool_execution_error", "content": content}
        request = self._context.settings.approved.get(self._context.part.call_id)
        return {
            "id": self.id,
            "type": "mcp_call",
            "status": self.status,
            **({"approval_request_id": request} if request else {}),
            "server_label": label,
            "name": name,
            "arguments": "".join(self._pieces),
            "output": output,
            "error": error,
        }

    def open(self) -> list[Json]:
        self.is_visible = False
        return []

    def _called(self) -> list[Json]:
        return self._cut()

    def _cut(self) -> list[Json]:
        self.is_visible = True
        text = self.text
        delta = [self._event("mcp_call_arguments.delta", delta=text)] if text else []
        return [
            self._added({**self.json(), "arguments": ""}),
            self._event("mcp_call.in_progress"),
            *delta,
            self._event("mcp_call_arguments.done", arguments=text),
        ]

    def _ended(self) -> list[Json]:
        word = "completed" if self.status == "completed" else "failed"
        return [self._event(f"mcp_call.{word}")]

    def _write(self, text: str, logprobs: tuple[TokenLogprob, ...]) -> list[Json]:
        self._pieces.append(text)
        return []


class McpApprovalItem(OutputItem):
    """A call that waits for approval."""

    prefix = REQUEST_PREFIX

    def json(self) -> Json:
        label, _, name = self._context.part.name.partition(".")
        return {
            "id": self.id,
            "type": "mcp_approval_request",
            "server_label": label,
            "name": name,
            "arguments": self.text,
        }

    def push(self, event: object) -> list[Json]:
        if isinstance(event, ApprovalRequested):
            self._pieces.append(event.arguments)
            return self.open()
        return super().push(event)

    def close(self, status: ItemStatus, *, is_exact: bool = False) -> list[Json]:
        self.status = status
        return [self._done()]

    def _write(self, text: str, logprobs: tuple[TokenLogprob, ...]) -> list[Json]:
        raise AssertionError("a call is whole when its approval is requested")  # pragma: no cover


class McpListItem(OutputItem):
    """The tools of one MCP server, sent at once; the context's part has the server's name."""

    prefix = "mcpl"

    def json(self) -> Json:
        label = self._context.part.name
        server = self._context.settings.servers[label]
        failed = {} if server.error is None else {"error": server.error}
        return {
            "id": self.id,
            "type": "mcp_list_tools",
            "server_label": label,
            "tools": list(server.tools),
            **failed,
        }

    def open(self) -> list[Json]:
        """Return all of the item's events."""
        whole = self.json()
        self.status = "failed" if "error" in whole else "completed"
        begun = {name: value for name, value in whole.items() if name != "error"}
        return [
            self._added({**begun, "tools": []}),
            self._event("mcp_list_tools.in_progress"),
            self._event(f"mcp_list_tools.{self.status}"),
            *self.close(self.status),
        ]

    def close(self, status: ItemStatus, *, is_exact: bool = False) -> list[Json]:
        self.status = status
        return [self._done()]

    def _write(self, text: str, logprobs: tuple[TokenLogprob, ...]) -> list[Json]:
        raise AssertionError("a list of tools is over when it begins")  # pragma: no cover


def _requested_action(name: str, arguments: str) -> Mapping[str, Any]:
    """Parse the action that a call requests, as far as possible."""
    try:
        read = json.loads(arguments)
    except (ValueError, RecursionError):
        read = None
    fields = read if isinstance(read, dict) else {}
    texts = {key: value for key, value in fields.items() if isinstance(value, str)}
    match name.partition(".")[2]:
        case "open":
            return {"type": "open_page", "url": texts.get("id")}
        case "find":
            return {"type": "find_in_page", "pattern": texts.get("pattern")}
        case _:
            return {"type": "search", "query": texts.get("query")}


ITEM_CLASSES: Mapping[str, type[OutputItem]] = MappingProxyType(
    {
        "analysis": ReasoningItem,
        "preamble": PreambleItem,
        "final": AnswerItem,
        "function": FunctionCallItem,
        "custom": CustomCallItem,
        "browser": WebSearchItem,
        "python": CodeItem,
        "mcp": McpCallItem,
    }
)
"""Kind of a part, or of a call's tool -> item class."""


def item_class(part: PartStarted, settings: ResponseSettings) -> type[OutputItem]:
    """Return the item class of a part; unknown kinds are shown as reasoning, never as answer."""
    if part.kind == "call":
        return ITEM_CLASSES[tool_kind(part.name, settings.kinds)]
    return ITEM_CLASSES.get(part.kind, ReasoningItem)
