"""One turn of the model: tokens -> what a caller sees. The only reader of the frame's events.

Knows no model, no thread and no wire; a clock and a source of tokens are given to it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from uuid import uuid4

from ossia.chat.events import (
    Event,
    Finished,
    Preamble,
    Text,
    Thought,
    Timing,
    TokenLogprob,
    ToolCalled,
    TurnEnd,
    Usage,
)
from ossia.chat.stops import StopFinder
from ossia.engine.request import Choice, FinishReason, TokenEvent
from ossia.harmony.frame import Frame
from ossia.harmony.frame_rules import BodyPiece, FrameEvent, Opened
from ossia.harmony.messages import FUNCTIONS
from ossia.harmony.vocabulary import Vocabulary


@dataclass(slots=True)
class Meter:
    """Counts tokens and times them."""

    clock: Callable[[], float]
    num_prompt: int
    started: float = field(init=False)
    first: float | None = None
    last: float = 0.0
    tokens: int = 0
    tokens_at_first: int = 0
    reasoning: int = 0
    cached: int = 0

    def __post_init__(self) -> None:
        """The request begins now."""
        self.started = self.clock()

    def count(self, *, forced: bool) -> None:
        """One more token; those forced before any was sampled cost no time of their own."""
        self.tokens += 1
        self.last = self.clock()
        if self.first is None:
            self.tokens_at_first = self.tokens
            if not forced:
                self.first = self.last

    def finished(self, reason: TurnEnd) -> Finished:
        """Sum up."""
        usage = Usage(self.num_prompt, self.tokens, self.reasoning, self.cached)
        if self.first is None:
            return Finished(reason, usage, Timing())
        later, seconds = self.tokens - self.tokens_at_first, self.last - self.first
        rate = later / seconds if later and seconds > 0 else 0.0
        return Finished(reason, usage, Timing(self.first - self.started, rate))


class TurnReader:
    """Follows the frame and says what each token adds."""

    def __init__(self, frame: Frame, vocabulary: Vocabulary, stop: StopFinder) -> None:
        self._frame = frame
        self._vocabulary = vocabulary
        self._stop = stop
        self._state = frame.start
        self._channel = ""
        self._recipient: str | None = None
        self._arguments: list[str] = []
        self._logprobs: list[TokenLogprob] = []
        self.called = False

    @property
    def is_reasoning(self) -> bool:
        """Whether the next token belongs to reasoning."""
        return self._frame.in_analysis(self._state)

    def push(self, choice: Choice) -> Iterator[Event]:
        """Take in one token."""
        if self._channel == "final" and choice.is_scored:
            self._logprobs.append(named(choice, self._vocabulary))
        self._state, seen = self._frame.step(self._state, choice.token_id)
        for one in seen:
            yield from self._say(one)

    def cut(self) -> Iterator[Event]:
        """The tokens ended inside a message: give what is certain of it; a header is dropped."""
        for one in self._frame.cut(self._state):
            yield from self._say(one)

    def _say(self, seen: FrameEvent) -> Iterator[Event]:
        match seen:
            case Opened(channel, recipient):
                self._channel, self._recipient = channel, recipient
                self._arguments, self._logprobs = [], []
            case BodyPiece(text):
                yield from self._body(text)
            case _:  # Closed
                yield from self._close(seen.kind)

    def _body(self, text: str) -> Iterator[Event]:
        if self._recipient is not None:
            self._arguments.append(text)
        elif self._channel == "analysis":
            yield Thought(text)
        elif self._channel == "commentary":
            yield Preamble(text)
        elif shown := self._stop.push(text):
            yield self._text(shown)

    def _close(self, kind: str) -> Iterator[Event]:
        if self._recipient is not None and kind == "call":
            self.called = True
            name = self._recipient.removeprefix(f"{FUNCTIONS}.")
            yield ToolCalled(f"call_{uuid4().hex[:24]}", name, "".join(self._arguments))
        elif self._recipient is None and self._channel == "final" and (rest := self._stop.close()):
            yield self._text(rest)
        self._channel, self._recipient = "", None

    def _text(self, text: str) -> Text:
        logprobs, self._logprobs = tuple(self._logprobs), []
        return Text(text, logprobs)


def named(choice: Choice, vocabulary: Vocabulary) -> TokenLogprob:
    """A choice with its tokens spelt out."""
    top = tuple((vocabulary.decode([each]), each, logprob) for each, logprob in choice.top)
    return TokenLogprob(vocabulary.decode([choice.token_id]), choice.token_id, choice.logprob, top)


def read_turn(
    tokens: Iterator[TokenEvent], reader: TurnReader, stop: StopFinder, meter: Meter
) -> Iterator[Event]:
    """Turn a stream of tokens into a stream of events, ending with exactly one `Finished`.

    The source is left early when a stop string is found; closing it is the caller's part.
    """
    reason: FinishReason = "cancelled"
    for token in tokens:
        reason = token.finish_reason or reason
        if token.choice is None:
            break
        meter.count(forced=token.forced)
        meter.cached = token.cached_tokens
        meter.reasoning += reader.is_reasoning
        yield from reader.push(token.choice)
        if stop.found:
            reason = "stop"
            break
    if not stop.found:
        yield from reader.cut()
    yield meter.finished(_turn_end(reason, called=reader.called))


def _turn_end(reason: FinishReason, *, called: bool) -> TurnEnd:
    assert reason != "error", "a failed request raises instead"
    return "tool_calls" if called else reason
