"""Converts a turn's events to a Response object and the stream of events that builds it.

A pure state machine without socket, store or model.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from ossia.chat.events import (
    ApprovalRequested,
    Event,
    Finished,
    PartFinished,
    PartStarted,
    TurnEnd,
    Usage,
)
from ossia.harmony.messages import Message
from ossia.server.api.history import HistoryMessage
from ossia.server.responses.citations import Resolve
from ossia.server.responses.objects import (
    ErrorCode,
    Json,
    ResponseSettings,
    Status,
    new_id,
    usage_object,
)
from ossia.server.responses.output_items import ItemContext, MessageItem, OutputItem
from ossia.server.responses.tool_items import McpApprovalItem, McpCallItem, McpListItem, item_class

TERMINAL = frozenset(("response.completed", "response.incomplete", "response.failed"))
"""Terminal events; exactly one ends every stream."""

_ENDINGS: Mapping[TurnEnd, Status] = MappingProxyType(
    {
        "stop": "completed",
        "tool_calls": "completed",
        "length": "incomplete",
        "cancelled": "cancelled",
    }
)


class ResponseWriter:
    """Writes one response.

    Attributes:
        id: of the response.
        created_at: seconds since 1970.
        status: current status.
        is_over: whether the terminal event was returned.
        written: the finished messages in order, with their exact ids.
    """

    def __init__(
        self,
        settings: ResponseSettings,
        *,
        response_id: str | None = None,
        new_id: Callable[[str], str] = new_id,
        clock: Callable[[], float] = time.time,
        sign_reference: Callable[[str], str] | None = None,
        resolve: Resolve | None = None,
    ) -> None:
        """Configure the writer.

        Args:
            settings: echoed in the response.
            response_id: its id; None: a new one.
            new_id: a prefix such as `msg` -> a new id that begins with it.
            clock: seconds since 1970.
            sign_reference: id of a reasoning item -> its `encrypted_content`; None: leave it out.
            resolve: number of a page and a line of it -> the page, for citations; None: there are
                no pages.
        """
        self.id = response_id or new_id("resp")
        self.created_at = int(clock())
        self.status: Status = "queued"
        self.is_over = False
        self.written: list[HistoryMessage] = []
        self._settings = settings
        self._echoed = settings.echoed_fields()
        self._new_id = new_id
        self._clock = clock
        self._sign_reference = sign_reference
        self._resolve = resolve
        self._items: list[OutputItem] = []
        self._open: OutputItem | None = None
        self._listed: set[str] = set()
        """MCP servers already listed in the output."""
        self._num_events = 0
        self._completed_at: int | None = None
        self._error: Json | None = None
        self._incomplete: Json | None = None
        self._usage: Json | None = None

    @property
    def response(self) -> Json:
        """The current Response object; at the end, that of the terminal event."""
        return {
            "id": self.id,
            "object": "response",
            "created_at": self.created_at,
            "status": self.status,
            "completed_at": self._completed_at,
            "error": self._error,
            "incomplete_details": self._incomplete,
            **self._echoed,
            "output": [item.json() for item in self._items if item.is_visible],
            "usage": self._usage,
        }

    def begin(self, queued: bool = False) -> list[Json]:
        """Return the first events.

        Args:
            queued: whether the status is `queued` until `start` or the turn's first event.
        """
        assert not self._num_events, "a response begins once"
        if not queued:
            self.status = "in_progress"
        return self._numbered([self._life("created"), self._life(self.status)])

    def start(self) -> list[Json]:
        """End the queued status; no event if it was not queued."""
        if not self._num_events:
            return self.begin()
        if self.status != "queued":
            return []
        self.status = "in_progress"
        return self._numbered([self._life("in_progress")])

    def push(self, event: Event) -> list[Json]:
        """Convert an event of the turn; after the terminal event, return nothing."""
        if self.is_over:
            return []
        before = self.start() if self.status == "queued" else []
        return before + self._numbered(self._follow(event))

    def fail(self, code: ErrorCode, message: str, prompt_tokens: int = 0) -> list[Json]:
        """End with an internal error; the output so far stays.

        Args:
            code: from OpenAI's list.
            message: for the caller.
            prompt_tokens: of the turn, if it started.
        """
        return self._stop("failed", prompt_tokens, error={"code": code, "message": message})

    def cancel(self, prompt_tokens: int = 0) -> list[Json]:
        """End as cancelled, without a `Finished` event of the turn. See `fail`."""
        return self._stop("cancelled", prompt_tokens)

    def _follow(self, event: Event) -> list[Json]:
        match event:
            case PartStarted():
                return self._close() + self._begin_item(event)
            case Finished(reason, usage):
                return self._end(_ENDINGS[reason], usage)
            case ApprovalRequested():
                self._request_approval()
        item = self._open
        if item is None:
            return []
        events = item.push(event)
        if isinstance(event, PartFinished):
            self.written.append(_written(item, event.message))
        if item.status != "in_progress":
            self._open = None
        return events

    def _request_approval(self) -> None:
        """Replace the open call, which no client has seen yet, by an approval request."""
        unseen = self._items.pop()
        assert not unseen.is_visible, "a call that was sent cannot become a request"
        self._open = self._new_item(McpApprovalItem, unseen.part)

    def _begin_item(self, part: PartStarted) -> list[Json]:
        kind = item_class(part, self._settings)
        label = part.name.partition(".")[0] if kind is McpCallItem else None
        names = [] if part.call_id in self._settings.approved else self._unlisted(label)
        before = [event for each in names for event in self._list_tools(each)]
        self._open = item = self._new_item(kind, part)
        return before + item.open()

    def _unlisted(self, label: str | None) -> list[str]:
        """Return the MCP servers to list now: the called one, and those that failed."""
        servers = self._settings.servers.items()
        wanted = {name for name, server in servers if name == label or server.error is not None}
        return sorted(wanted - self._listed)

    def _list_tools(self, label: str) -> list[Json]:
        self._listed.add(label)
        return self._new_item(McpListItem, PartStarted("call", name=label)).open()

    def _new_item(self, kind: type[OutputItem], part: PartStarted) -> OutputItem:
        place = ItemContext(
            id=self._new_id(kind.prefix),
            index=len(self._items),
            part=part,
            settings=self._settings,
            sign_reference=self._sign_reference,
            resolve=self._resolve,
        )
        item = kind(place)
        self._items.append(item)
        return item

    def _close(self) -> list[Json]:
        """Close the open item, complete or not."""
        item, self._open = self._open, None
        return [] if item is None else item.close("incomplete")

    def _stop(self, status: Status, prompt_tokens: int, error: Json | None = None) -> list[Json]:
        if self.is_over:
            return []
        before = [] if self._num_events else self.begin()
        self._error = error
        return before + self._numbered(self._end(status, self._counted(prompt_tokens)))

    def _counted(self, prompt_tokens: int) -> Usage:
        """Count the known tokens when the turn reports no usage."""
        counts = [(len(each.message.sampled_ids or ()), each.message) for each in self.written]
        reasoning = sum(
            count
            for count, message in counts
            if message.channel == "analysis" and message.recipient is None
        )
        return Usage(prompt_tokens, sum(count for count, _ in counts), reasoning)

    def _end(self, status: Status, usage: Usage) -> list[Json]:
        events = self._close()
        self.is_over = True
        self.status = status
        self._usage = usage_object(usage)
        if status == "completed":
            self._completed_at = int(self._clock())
        if status == "incomplete":
            self._incomplete = {"reason": "max_output_tokens"}
        events.append(self._life("incomplete" if status == "cancelled" else status))
        return events

    def _life(self, name: str) -> Json:
        return {"type": f"response.{name}", "response": self.response}

    def _numbered(self, events: list[Json]) -> list[Json]:
        for event in events:
            event["sequence_number"] = self._num_events
            self._num_events += 1
        return events


def _written(item: OutputItem, message: Message) -> HistoryMessage:
    is_changed = isinstance(item, MessageItem) and item.text != message.text
    shown_text = item.text if is_changed else None
    return HistoryMessage(message=message, item_id=item.id, shown_text=shown_text)


def fold(events: Iterable[Json]) -> Json:
    """Fold a stream to its final Response object."""
    *_, last = events
    assert last["type"] in TERMINAL, "a stream ends with its terminal event"
    response: Json = last["response"]
    return response
