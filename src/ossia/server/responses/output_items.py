"""Output items while they are written: one class per type of item.

An item creates its own events in order; the writer numbers them.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

from ossia.chat.events import (
    ArgumentsDelta,
    PartFinished,
    PartStarted,
    PreambleDelta,
    ReasoningDelta,
    TextDelta,
    TokenLogprob,
)
from ossia.server.responses.citations import Citations, Resolve
from ossia.server.responses.objects import Json, ResponseSettings, logprob_object

ItemStatus = Literal["in_progress", "completed", "incomplete", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemContext:
    """An item's index, and the settings its form depends on."""

    id: str
    index: int
    part: PartStarted
    settings: ResponseSettings
    sign_reference: Callable[[str], str] | None
    """Item id -> signed reference to the sampled tokens."""
    resolve: Resolve | None
    """Page number and line -> the page, for citations."""


class OutputItem(ABC):
    """An output item: opened, extended by deltas, closed once."""

    prefix: ClassVar[str]
    """Prefix of the item's id."""

    def __init__(self, context: ItemContext) -> None:
        self.id = context.id
        self.status: ItemStatus = "in_progress"
        self.is_visible = True
        """Whether its first event was sent."""
        self._context = context
        self._index = context.index
        self._pieces: list[str] = []

    @abstractmethod
    def json(self) -> Json:
        """Return the item in its current state."""

    @property
    def part(self) -> PartStarted:
        """The part of the turn that it represents."""
        return self._context.part

    @property
    def text(self) -> str:
        """The text sent so far."""
        return "".join(self._pieces)

    def open(self) -> list[Json]:
        """Return the item's first events."""
        return [self._added(self.json())]

    def push(self, event: object) -> list[Json]:
        """Convert an event of the turn; events of other items add nothing."""
        match event:
            case TextDelta(text, logprobs):
                return self._write(text, logprobs)
            case ReasoningDelta(text) | PreambleDelta(text) | ArgumentsDelta(text):
                return self._write(text, ())
            case PartFinished(message, is_whole):
                is_exact = message.sampled_ids is not None
                return self.close("completed" if is_whole else "incomplete", is_exact=is_exact)
            case _:
                return []

    @abstractmethod
    def close(self, status: ItemStatus, *, is_exact: bool = False) -> list[Json]:
        """Return the item's last events.

        Args:
            status: completed, incomplete or, for a built-in tool, failed.
            is_exact: whether its sampled tokens are known.
        """

    @abstractmethod
    def _write(self, text: str, logprobs: tuple[TokenLogprob, ...]) -> list[Json]:
        """Return the events of a piece of text."""

    def _added(self, item: Json) -> Json:
        return {"type": "response.output_item.added", "output_index": self._index, "item": item}

    def _done(self) -> Json:
        item = self.json()
        return {"type": "response.output_item.done", "output_index": self._index, "item": item}

    def _event(self, name: str, **fields: object) -> Json:
        """Create an event about this item."""
        context = {"item_id": self.id, "output_index": self._index}
        return {"type": f"response.{name}", **context, **fields}


class ReasoningItem(OutputItem):
    """The model's reasoning."""

    prefix = "rs"

    def __init__(self, context: ItemContext) -> None:
        super().__init__(context)
        self._encrypted_content: str | None = None

    def json(self) -> Json:
        encrypted = (
            {}
            if self._encrypted_content is None
            else {"encrypted_content": self._encrypted_content}
        )
        return {
            "id": self.id,
            "type": "reasoning",
            "status": self.status,
            "summary": [],
            "content": [self._part()],
            **encrypted,
        }

    def open(self) -> list[Json]:
        part = self._event("content_part.added", content_index=0, part=self._part())
        return [self._added({**self.json(), "content": []}), part]

    def close(self, status: ItemStatus, *, is_exact: bool = False) -> list[Json]:
        self.status = status
        if is_exact and self._context.sign_reference is not None:
            self._encrypted_content = self._context.sign_reference(self.id)
        part = self._part()
        return [
            self._event("reasoning_text.done", content_index=0, text=part["text"]),
            self._event("content_part.done", content_index=0, part=part),
            self._done(),
        ]

    def _write(self, text: str, logprobs: tuple[TokenLogprob, ...]) -> list[Json]:
        if not text:
            return []
        self._pieces.append(text)
        return [
            {
                "type": "response.reasoning_text.delta",
                "item_id": self.id,
                "output_index": self._index,
                "content_index": 0,
                "delta": text,
            }
        ]

    def _part(self) -> Json:
        return {"type": "reasoning_text", "text": "".join(self._pieces)}


class MessageItem(OutputItem):
    """Text for the user."""

    prefix = "msg"
    phase: ClassVar[Literal["commentary", "final_answer"]]

    def __init__(self, context: ItemContext) -> None:
        super().__init__(context)
        resolve = context.resolve
        self._citations = None if resolve is None else Citations(resolve)
        self._annotations: list[Json] = []
        self._logprobs: list[Json] = []
        self._num_sent = 0
        """Number of log probabilities already sent."""

    def json(self) -> Json:
        return {
            "id": self.id,
            "type": "message",
            "status": self.status,
            "role": "assistant",
            "phase": self.phase,
            "content": [self._part()],
        }

    def open(self) -> list[Json]:
        part = self._event("content_part.added", content_index=0, part=self._part())
        return [self._added({**self.json(), "content": []}), part]

    def close(self, status: ItemStatus, *, is_exact: bool = False) -> list[Json]:
        rest = [] if self._citations is None else self._send_text(self._citations.close())
        self.status = status
        part = self._part()
        fields = {"text": part["text"], "logprobs": part["logprobs"]}
        return [
            *rest,
            self._event("output_text.done", content_index=0, **fields),
            self._event("content_part.done", content_index=0, part=part),
            self._done(),
        ]

    def _write(self, text: str, logprobs: tuple[TokenLogprob, ...]) -> list[Json]:
        if logprobs and self._context.settings.include_logprobs:
            self._logprobs += map(logprob_object, logprobs)
        if self._citations is None:
            return self._send_text(text)
        text, cited = self._citations.push(text)
        first = len(self._annotations)
        self._annotations += cited
        return self._send_text(text) + [
            self._event(
                "output_text.annotation.added",
                content_index=0,
                annotation_index=at,
                annotation=annotation,
            )
            for at, annotation in enumerate(cited, first)
        ]

    def _send_text(self, text: str) -> list[Json]:
        """Send final text with the log probabilities up to here."""
        logprobs: list[Json] = []
        if len(self._logprobs) > self._num_sent:
            logprobs = self._logprobs[self._num_sent :]
            self._num_sent = len(self._logprobs)
        elif not text:
            return []
        self._pieces.append(text)
        return [
            {
                "type": "response.output_text.delta",
                "item_id": self.id,
                "output_index": self._index,
                "content_index": 0,
                "delta": text,
                "logprobs": logprobs,
            }
        ]

    def _part(self) -> Json:
        return {
            "type": "output_text",
            "text": "".join(self._pieces),
            "annotations": list(self._annotations),
            "logprobs": list(self._logprobs),
        }


class PreambleItem(MessageItem):
    """Text before a tool call."""

    phase = "commentary"


class AnswerItem(MessageItem):
    """The final answer."""

    phase = "final_answer"


class CallItem(OutputItem):
    """A call of a client-side tool."""

    type: ClassVar[str]
    body: ClassVar[str]
    """The item's field for the call's content."""
    body_events: ClassVar[str]

    def json(self) -> Json:
        called = self._context.part.name
        namespaces = self._context.settings.namespaces
        namespace, name = namespaces.get(called, ("", called))
        return {
            "id": self.id,
            "type": self.type,
            "status": self.status,
            "call_id": self._context.part.call_id,
            **({"namespace": namespace} if namespace else {}),
            "name": name,
            self.body: "".join(self._pieces),
        }

    def close(self, status: ItemStatus, *, is_exact: bool = False) -> list[Json]:
        self.status = status
        return [self._body_done(self.json()), self._done()]

    def _body_done(self, item: Json) -> Json:
        return self._event(f"{self.body_events}.done", **{self.body: item[self.body]})

    def _write(self, text: str, logprobs: tuple[TokenLogprob, ...]) -> list[Json]:
        if not text:
            return []
        self._pieces.append(text)
        return [self._event(f"{self.body_events}.delta", delta=text)]


class FunctionCallItem(CallItem):
    """A call of a function, with JSON arguments."""

    prefix = "fc"
    type = "function_call"
    body = "arguments"
    body_events = "function_call_arguments"

    def _body_done(self, item: Json) -> Json:
        return {**super()._body_done(item), "name": item["name"]}


class CustomCallItem(CallItem):
    """A call of a custom tool, with plain-text input."""

    prefix = "ctc"
    type = "custom_tool_call"
    body = "input"
    body_events = "custom_tool_call_input"
