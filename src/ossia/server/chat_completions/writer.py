"""Converts a turn's events to chunks of Chat Completions, and folds chunks to the whole answer.

Pure and synchronous: no clock, no socket.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ossia.chat.events import (
    ArgumentsDelta,
    Event,
    Finished,
    PartStarted,
    PreambleDelta,
    ReasoningDelta,
    TextDelta,
    TurnEnd,
    Usage,
)
from ossia.server.responses.objects import Json, ToolKind, logprob_object, tool_kind

BETWEEN = "\n\n"
"""Separates messages joined in one field."""

_ENDS: Mapping[TurnEnd, str] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "cancelled": "length",  # OpenAI has no such reason; the answer is incomplete
}
_CALLS: Mapping[ToolKind, str] = {"function": "arguments", "custom": "input"}
"""OpenAI's field of a call's content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatSettings:
    """Settings common to all chunks of one answer."""

    id: str
    created: int
    model: str
    fingerprint: str
    num_choices: int = 1
    includes_usage: bool = False
    shows_reasoning: bool = True
    is_json: bool = False
    """Whether the answer is JSON: preambles then go into the reasoning."""
    kinds: Mapping[str, ToolKind] = field(default_factory=dict)
    """Kind of each client-side tool by name. Calls of built-in tools are not shown."""


class ChatWriter:
    """Writes the choices of one answer, whose events may interleave."""

    def __init__(self, settings: ChatSettings) -> None:
        self._settings = settings
        self._choices = [_Choice(index, settings) for index in range(settings.num_choices)]
        self._head: Json = {
            "id": settings.id,
            "object": "chat.completion.chunk",
            "created": settings.created,
            "model": settings.model,
            "system_fingerprint": settings.fingerprint,
        }
        self._tail: Json = {"usage": None} if settings.includes_usage else {}

    def begin(self) -> list[Json]:
        """Return the first chunk of every choice, in the order clients expect."""
        return [self._chunk(choice.delta_of({"role": "assistant"})) for choice in self._choices]

    def push(self, index: int, event: Event) -> list[Json]:
        """Convert one event of a choice to at most one chunk."""
        written = self._choices[index].push(event)
        return [] if written is None else [self._chunk(written)]

    def end(self) -> list[Json]:
        """Return the final chunk with the usage, if the request includes it."""
        if not self._settings.includes_usage:
            return []
        usages = [choice.usage for choice in self._choices]
        return [{**self._head, "choices": [], "usage": usage_object(usages)}]

    def _chunk(self, choice: Json) -> Json:
        return {**self._head, "choices": [choice], **self._tail}


class _Choice:
    """Writes one choice."""

    def __init__(self, index: int, settings: ChatSettings) -> None:
        self._index = index
        self._settings = settings
        self._num_calls = 0
        self._body = "arguments"
        self._kind: ToolKind = "function"
        self._begun: set[str] = set()
        """Fields with text so far."""
        self._is_new = True
        """Whether the current message has no text yet."""
        self.usage = Usage()

    def push(self, event: Event) -> Json | None:
        """Convert one event to at most one chunk's choice."""
        match event:
            case TextDelta(text, logprobs):
                scored = [logprob_object(each) for each in logprobs]
                return self._spoken("content", text, scored)
            case ArgumentsDelta(text):
                is_shown = text and self._kind in _CALLS
                return self._called({self._kind: {self._body: text}}) if is_shown else None
            case ReasoningDelta(text):
                return self._spoken("reasoning", text)
            case PreambleDelta(text):
                return self._spoken("reasoning" if self._settings.is_json else "content", text)
            case PartStarted():
                return self._began(event)
            case Finished():
                self.usage = event.usage
                return self.delta_of({}, finish_reason=_ENDS[event.reason])
            case _:  # PartFinished and ToolCalled repeat text already sent
                return None

    def delta_of(
        self, delta: Json, *, scored: list[Json] | None = None, finish_reason: str | None = None
    ) -> Json:
        """Return a chunk's entry for this choice."""
        logprobs = {"content": scored, "refusal": None} if scored else None
        return {
            "index": self._index,
            "delta": delta,
            "logprobs": logprobs,
            "finish_reason": finish_reason,
        }

    def _spoken(self, name: str, text: str, scored: list[Json] | None = None) -> Json | None:
        if name == "reasoning" and not self._settings.shows_reasoning:
            return None
        if not text and not scored:
            return None
        if self._is_new and text:
            self._is_new = False
            if name in self._begun:
                text = BETWEEN + text
            self._begun.add(name)
        return self.delta_of({name: text}, scored=scored)

    def _began(self, part: PartStarted) -> Json | None:
        self._is_new = True
        if part.kind != "call":
            return None
        self._kind = tool_kind(part.name, self._settings.kinds)
        if self._kind not in _CALLS:
            return None
        self._body = _CALLS[self._kind]
        self._num_calls += 1
        inside = {"name": part.name, self._body: ""}
        return self._called({"id": part.call_id, "type": self._kind, self._kind: inside})

    def _called(self, fields: Json) -> Json:
        return self.delta_of({"tool_calls": [{"index": self._num_calls - 1, **fields}]})


class ChatFold:
    """Folds chunks to a whole chat completion."""

    def __init__(self) -> None:
        self._head: Json = {}
        self._usage: Json | None = None
        self._choices: dict[int, _ChoiceFold] = {}

    def add(self, chunk: Json) -> None:
        """Add the next chunk."""
        self._head = self._head or chunk
        self._usage = chunk.get("usage") or self._usage
        for choice in chunk["choices"]:
            self._choices.setdefault(choice["index"], _ChoiceFold()).add(choice)

    def answer(self, metadata: Mapping[str, str] | None = None) -> Json:
        """Return the chat.completion object; `metadata` is the request's."""
        delta_of = {"metadata": dict(metadata)} if metadata else {}
        return {
            "id": self._head["id"],
            "object": "chat.completion",
            "created": self._head["created"],
            "model": self._head["model"],
            "choices": [self._choices[index].choice(index) for index in sorted(self._choices)],
            "usage": self._usage,
            "system_fingerprint": self._head["system_fingerprint"],
            **delta_of,
        }


@dataclass(slots=True)
class _ChoiceFold:
    """One choice, folded."""

    texts: dict[str, list[str]] = field(default_factory=dict)
    calls: list[Json] = field(default_factory=list)
    bodies: list[list[str]] = field(default_factory=list)
    scored: list[Json] = field(default_factory=list)
    finish_reason: str | None = None

    def add(self, choice: Json) -> None:
        """Add a chunk's entry for this choice."""
        delta = choice["delta"]
        for name in ("content", "reasoning"):
            if name in delta:
                self.texts.setdefault(name, []).append(delta[name])
        for call in delta.get("tool_calls", ()):
            self._add_call(call)
        if choice["logprobs"] is not None:
            self.scored.extend(choice["logprobs"]["content"])
        self.finish_reason = choice["finish_reason"] or self.finish_reason

    def _add_call(self, call: Json) -> None:
        if "id" in call:
            self.calls.append(call)
            self.bodies.append([])
        else:
            opened = self.calls[call["index"]]
            kind = opened["type"]
            self.bodies[call["index"]].append(call[kind][_CALLS[kind]])

    def choice(self, index: int) -> Json:
        """Return the choice of a chat.completion object."""
        content = None if self.calls else ""
        message: Json = {"role": "assistant", "content": content, "refusal": None}
        for name, texts in self.texts.items():
            message[name] = "".join(texts)
        if self.calls:
            pairs = zip(self.calls, self.bodies, strict=True)
            message["tool_calls"] = [_whole(call, "".join(body)) for call, body in pairs]
        logprobs = {"content": self.scored, "refusal": None} if self.scored else None
        return {
            "index": index,
            "message": message,
            "logprobs": logprobs,
            "finish_reason": self.finish_reason,
        }


def _whole(call: Json, body: str) -> Json:
    kind = call["type"]
    return {
        "id": call["id"],
        "type": kind,
        kind: {"name": call[kind]["name"], _CALLS[kind]: body},
    }


def usage_object(usages: list[Usage]) -> Json:
    """Return the token usage of an answer: the prompt once, and all choices."""
    first = usages[0]
    written = sum(usage.completion_tokens for usage in usages)
    return {
        "prompt_tokens": first.prompt_tokens,
        "completion_tokens": written,
        "total_tokens": first.prompt_tokens + written,
        "prompt_tokens_details": {"cached_tokens": first.cached_tokens},
        "completion_tokens_details": {
            "reasoning_tokens": sum(usage.reasoning_tokens for usage in usages)
        },
    }
