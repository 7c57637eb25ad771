"""Parses the tokens of a turn, or of a raw completion, into events.

Knows no model, no thread and no HTTP.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar, cast
from uuid import uuid4

from ossia.chat.events import (
    ArgumentsDelta,
    Event,
    Finished,
    PartFinished,
    PartKind,
    PartStarted,
    PreambleDelta,
    ReasoningDelta,
    TextDelta,
    Timing,
    TokenLogprob,
    ToolCalled,
    TurnEnd,
    Usage,
)
from ossia.engine.request import FinishReason, SampledToken, TokenEvent
from ossia.harmony.messages import FUNCTIONS, Channel, Message
from ossia.harmony.output_grammar import OutputGrammar, Phase
from ossia.harmony.output_rules import ContentDelta, HarmonyEvent, MessageStarted
from ossia.harmony.text_decoder import TextDecoder
from ossia.harmony.tokenizer import Tokenizer


@dataclass(slots=True)
class UsageTracker:
    """Counts the tokens of a request and times them."""

    clock: Callable[[], float]
    prompt_tokens: int
    started: float = field(init=False)
    first: float | None = None
    last: float = 0.0
    tokens: int = 0
    tokens_at_first: int = 0
    reasoning: int = 0
    cached: int = 0

    def __post_init__(self) -> None:
        """Start the clock."""
        self.started = self.clock()

    def count(self, *, forced: bool) -> None:
        """Count a token; tokens forced before the first sampled one take no time."""
        self.tokens += 1
        self.last = self.clock()
        if self.first is None:
            self.tokens_at_first = self.tokens
            if not forced:
                self.first = self.last

    def finished(self, reason: TurnEnd) -> Finished:
        """Create the last event with usage and timing."""
        usage = Usage(self.prompt_tokens, self.tokens, self.reasoning, self.cached)
        if self.first is None:
            return Finished(reason, usage, Timing())
        later, seconds = self.tokens - self.tokens_at_first, self.last - self.first
        rate = later / seconds if later and seconds > 0 else 0.0
        return Finished(reason, usage, Timing(self.first - self.started, rate))


class StopFinder:
    """Forwards text up to the first stop string; buffers a tail that may start one."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._pending = ""
        self.found = False

    def push(self, text: str) -> str:
        """Add text; return what may be shown: nothing after a stop string."""
        if self.found or not self._stops:
            return "" if self.found else text
        text = self._pending + text
        places = [at for stop in self._stops if (at := text.find(stop)) >= 0]
        if places:
            self.found, self._pending = True, ""
            return text[: min(places)]
        longest = max(map(len, self._stops)) - 1
        for size in range(min(longest, len(text)), 0, -1):
            tail = text[-size:]
            if any(stop.startswith(tail) for stop in self._stops):
                self._pending = tail
                return text[:-size]
        self._pending = ""
        return text

    def close(self) -> str:
        """Return the buffered text, which was not a stop string."""
        pending, self._pending = self._pending, ""
        return pending


class OutputParser:
    """Parses the tokens of a turn into events, following the output grammar."""

    def __init__(
        self, grammar: OutputGrammar, tokenizer: Tokenizer, stop: StopFinder, usage: UsageTracker
    ) -> None:
        self._grammar = grammar
        self._tokenizer = tokenizer
        self._stop = stop
        self._usage = usage
        self._state = grammar.start
        self._part: _MessageBuilder | None = None
        self._ids: list[int] = []
        self._logprobs: list[TokenLogprob] = []
        self._called = False
        self.ended = False

    def push(self, token: TokenEvent) -> Iterator[Event]:
        """Parse one event of the engine; the last one yields `Finished`."""
        if token.sampled is not None:
            self._usage.count(forced=token.forced)
            self._usage.cached = token.cached_tokens
            self._usage.reasoning += self._grammar.in_analysis(self._state)
            yield from self._follow(token.sampled)
        if self._stop.found:
            yield from self.close("stop")
        elif token.finish_reason is not None:
            yield from self.close(token.finish_reason)

    def close(self, reason: FinishReason) -> Iterator[Event]:
        """End the turn: finish an open message, drop an open header."""
        if self.ended:
            return
        self.ended = True
        for one in self._grammar.cut(self._state):
            yield from self._events(one)
        assert reason != "error", "a failed request raises instead"
        yield self._usage.finished("tool_calls" if self._called else reason)

    def _follow(self, sampled: SampledToken) -> Iterator[Event]:
        if self._part is not None and self._part.kind == "final" and sampled.is_scored:
            self._logprobs.append(to_token_logprob(sampled, self._tokenizer))
        if self._state.phase not in (Phase.START, Phase.ROLE):
            self._ids.append(sampled.token_id)
        self._state, seen = self._grammar.step(self._state, sampled.token_id)
        for one in seen:
            yield from self._events(one)

    def _events(self, seen: HarmonyEvent) -> Iterator[Event]:
        match seen:
            case MessageStarted(channel, recipient):
                self._part = part = _MessageBuilder.begin(cast(Channel, channel), recipient)
                self._logprobs = []
                yield PartStarted(part.kind, part.call_id, part.name)
            case ContentDelta(text):
                yield from self._delta(text)
            case _:  # Closed
                yield from self._end(is_whole=seen.kind != "cut" or self._stop.found)

    def _delta(self, text: str) -> Iterator[Event]:
        part = self._part
        assert part is not None
        if part.kind == "final":
            text = self._stop.push(text)
            if text:
                yield self._text(text)
            part.texts.append(text)
            return
        part.texts.append(text)
        if part.kind == "call":
            yield ArgumentsDelta(text)
        else:
            yield ReasoningDelta(text) if part.kind == "analysis" else PreambleDelta(text)

    def _end(self, *, is_whole: bool) -> Iterator[Event]:
        part = self._part
        assert part is not None
        if part.kind == "final" and (rest := self._stop.close()):
            part.texts.append(rest)
            yield self._text(rest)
        if part.kind == "call" and is_whole:
            self._called = True
            yield ToolCalled(part.call_id, part.name, "".join(part.texts))
        ids = None if self._stop.found else tuple(self._ids)
        yield PartFinished(part.message(ids), is_whole)
        self._part, self._ids = None, []

    def _text(self, text: str) -> TextDelta:
        logprobs, self._logprobs = tuple(self._logprobs), []
        return TextDelta(text, logprobs)


@dataclass(slots=True)
class _MessageBuilder:
    """The message in progress."""

    kind: PartKind
    channel: Channel
    recipient: str | None
    call_id: str = ""
    name: str = ""
    texts: list[str] = field(default_factory=list)

    @classmethod
    def begin(cls, channel: Channel, recipient: str | None) -> "_MessageBuilder":
        if recipient is not None:
            name = recipient.removeprefix(f"{FUNCTIONS}.")
            return cls("call", channel, recipient, f"call_{uuid4().hex[:24]}", name)
        kind: PartKind = "preamble" if channel == "commentary" else channel
        return cls(kind, channel, None)

    def message(self, ids: tuple[int, ...] | None) -> Message:
        is_function = self.recipient is not None and self.recipient.startswith(f"{FUNCTIONS}.")
        content_type = None if self.recipient is None else "json" if is_function else "code"
        return Message(
            role="assistant",
            channel=self.channel,
            recipient=self.recipient,
            content="".join(self.texts),
            content_type=content_type,
            sampled_ids=ids,
        )


def to_token_logprob(sampled: SampledToken, tokenizer: Tokenizer) -> TokenLogprob:
    """Convert a sampled token to its form in events, with text."""
    top = tuple(_scored(tokenizer, each, logprob) for each, logprob in sampled.top)
    return replace(_scored(tokenizer, sampled.token_id, sampled.logprob), top=top)


def _scored(tokenizer: Tokenizer, token_id: int, logprob: float) -> TokenLogprob:
    token = tokenizer.decode([token_id])
    spelt = tokenizer.bytes_of(token_id) if tokenizer.is_text(token_id) else token.encode()
    raw = None if spelt == token.encode() else tuple(spelt)
    return TokenLogprob(token, token_id, logprob, raw=raw)


CompletionEvent = TextDelta | Finished


class CompletionParser:
    """Parses the tokens of a raw completion, with control tokens by name, and records their ids."""

    def __init__(self, tokenizer: Tokenizer | None, stop: StopFinder, usage: UsageTracker) -> None:
        self._tokenizer = tokenizer
        self._decoder = None if tokenizer is None else TextDecoder(tokenizer)
        self._stop = stop
        self._usage = usage
        self.token_ids: list[int] = []
        self.ended = False

    def push(self, token: TokenEvent) -> Iterator[CompletionEvent]:
        """Parse one event of the engine; the last one yields `Finished`."""
        if token.sampled is not None:
            self._usage.count(forced=token.forced)
            self._usage.cached = token.cached_tokens
            if shown := self._show(token.sampled):
                yield shown
        if self._stop.found:
            yield from self.close("stop")
        elif token.finish_reason is not None:
            yield from self.close(token.finish_reason)

    def close(self, reason: FinishReason) -> Iterator[CompletionEvent]:
        """End the completion: yield the buffered text."""
        if self.ended:
            return
        self.ended = True
        last = self._decoder.close() if self._decoder else ""
        if rest := self._stop.push(last) + self._stop.close():
            yield TextDelta(rest)
        assert reason != "error", "a failed request raises instead"
        yield self._usage.finished(reason)

    def _show(self, sampled: SampledToken) -> TextDelta | None:
        self.token_ids.append(sampled.token_id)
        if self._tokenizer is None or self._decoder is None:
            return None
        if self._tokenizer.is_text(sampled.token_id):
            text = self._decoder.push(sampled.token_id)
        else:
            text = self._decoder.close() + self._tokenizer.decode([sampled.token_id])
        logprobs = (to_token_logprob(sampled, self._tokenizer),) if sampled.is_scored else ()
        shown = self._stop.push(text)
        return TextDelta(shown, logprobs) if shown or logprobs else None


EventT = TypeVar("EventT", covariant=True)


class TokenParser(Protocol[EventT]):
    """Parses tokens into events: `OutputParser` or `CompletionParser`."""

    @property
    def ended(self) -> bool:
        """Whether `Finished` was yielded."""
        ...

    def push(self, token: TokenEvent) -> Iterator[EventT]:
        """Parse one event of the engine."""
        ...

    def close(self, reason: FinishReason) -> Iterator[EventT]:
        """End the stream; yield `Finished` unless it was yielded."""
        ...


def parse_tokens(tokens: Iterator[TokenEvent], parser: TokenParser[EventT]) -> Iterator[EventT]:
    """Parse a stream of tokens into events; the last one is `Finished`.

    A stop string ends it early; the caller closes the source.
    """
    for token in tokens:
        yield from parser.push(token)
        if parser.ended:
            return
    yield from parser.close("cancelled")
