"""The agent loop: what follows each generation of a turn, until there is an answer.

Decides only: who writes and who runs tools is told what to do and tells what came of it, so that
the library and the server go the same way. Knows no thread, no process, no wire.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from ossia.chat.events import (
    Event,
    Finished,
    PartEnded,
    Timing,
    ToolCalled,
    ToolRan,
    Usage,
    result_message,
)
from ossia.chat.request import TurnRequest
from ossia.errors import CONTEXT_OVERFLOW, RequestError
from ossia.harmony.messages import Message
from ossia.tools.tool import MAX_RESULT_BYTES, Label, ToolResult, ToolSession, ToolSpec

ALL_LABELS: frozenset[Label] = frozenset(("reads_untrusted", "reads_private", "external_effect"))
LEAST_RESULT_BYTES = 1024
DENIED = "error: the user did not allow this call; go on without it"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopLimits:
    """When the model must answer with what it has."""

    calls: int = 25
    """Runs of our tools in one turn."""
    seconds: float = 600.0
    """From the turn's beginning."""


@dataclass(frozen=True, slots=True)
class PendingCall:
    """A call of one of our tools that waits to be run."""

    call: ToolCalled
    spec: ToolSpec
    must_ask: bool
    """Whether somebody must say yes to exactly this first."""


class AgentLoop:
    """One turn with tools. Feed it events and results; it says what to write and to run next."""

    def __init__(
        self,
        request: TurnRequest,
        session: ToolSession,
        *,
        context_length: int,
        clock: Callable[[], float],
        limits: LoopLimits,
        gathered: set[Label],
    ) -> None:
        """Begin with the request as it is.

        Args:
            request: what to write first.
            session: the conversation's tools.
            context_length: tokens; a result takes at most a quarter of what is left.
            clock: seconds.
            limits: when calls end.
            gathered: what earlier calls of the conversation brought into it; added to.
        """
        self.request: TurnRequest | None = request
        self.pending: PendingCall | None = None
        self._session = session
        self._specs = {tool.spec.name: tool.spec for tool in session.tools}
        self._context_length = context_length
        self._clock = clock
        self._limits = limits
        self._gathered = gathered
        self._started = self._called = clock()
        self._num_calls = 0
        self._said: list[Message] = []
        self._call: ToolCalled | None = None
        self._usage: Usage | None = None
        self._spent: Literal["calls", "time"] | None = None
        self._left = request.params.max_tokens

    def take(self, event: Event) -> Iterator[Event]:
        """Pass on one event of the generation; its `Finished` is held back if the turn goes on."""
        if isinstance(event, Finished):
            yield from self._end(event)
            return
        if isinstance(event, PartEnded):
            self._said.append(event.message)
        elif isinstance(event, ToolCalled):
            self._call = event
        yield event

    def cut(self) -> Iterator[Event]:
        """What tools gave leaves no room for another word: the turn ends here."""
        assert self._usage is not None, "the first generation is refused, not cut"
        self.request = None
        yield Finished("length", self._usage, Timing(), self._spent)

    @property
    def is_begun(self) -> bool:
        """Whether a generation of the turn is over."""
        return self._usage is not None

    def put(self, result: ToolResult) -> Iterator[Event]:
        """What the pending call gave; then there is a request to write again."""
        assert self.pending is not None
        self._gathered |= self.pending.spec.labels
        yield from self._go_on(result)

    def refuse(self) -> Iterator[Event]:
        """The pending call was not allowed; the model is told so."""
        yield from self._go_on(ToolResult(text=DENIED, is_error=True))

    def _go_on(self, result: ToolResult) -> Iterator[Event]:
        assert self.pending is not None
        assert self.request is not None
        call, request = self.pending.call, self.request
        seconds = self._clock() - self._called
        self._num_calls += 1
        ran = ToolRan(call.call_id, call.name, call.arguments, self._capped(result), seconds)
        yield ran
        spoken, said = request.conversation, self._said
        messages = (*spoken.messages, *said, result_message(ran, said[-1]))
        params = replace(
            request.params,
            max_tokens=self._left,
            seed=None if request.params.seed is None else request.params.seed + 1,
        )
        self._spent = self._limit_reached()
        self.request = replace(
            request,
            conversation=replace(spoken, messages=messages),
            params=params,
            tool_choice="none" if self._spent or request.tool_choice == "none" else "auto",
        )
        self.pending, self._call, self._said = None, None, []

    def _end(self, finished: Finished) -> Iterator[Event]:
        """A generation is over: another one follows, or the turn ends."""
        self._count(finished.usage)
        call = self._call
        spec = None if call is None else self._specs.get(self._said[-1].recipient or "")
        if call is not None and spec is not None and finished.reason == "tool_calls":
            if self._left is None or self._left > 0:
                self.pending = PendingCall(call, spec, self._must_ask(call, spec))
                self._called = self._clock()
                return
            finished = replace(finished, reason="length")
        self.request = None
        assert self._usage is not None
        yield replace(finished, usage=self._usage, spent=self._spent)

    def _count(self, usage: Usage) -> None:
        """What tools gave counts once, as input; what was written before it is no input."""
        if self._left is not None:
            self._left -= usage.completion_tokens
        if before := self._usage:
            usage = Usage(
                usage.prompt_tokens - before.completion_tokens,
                usage.completion_tokens + before.completion_tokens,
                usage.reasoning_tokens + before.reasoning_tokens,
                before.cached_tokens,
            )
        self._usage = usage

    def _must_ask(self, call: ToolCalled, spec: ToolSpec) -> bool:
        if spec.approval == "always":
            return True
        if self._session.needs_approval(spec.name, call.arguments):
            return True
        if self._gathered | spec.labels != ALL_LABELS:
            return False
        return "external_effect" in spec.labels or not spec.labels <= self._gathered

    def _limit_reached(self) -> Literal["calls", "time"] | None:
        if self._num_calls >= self._limits.calls:
            return "calls"
        return "time" if self._clock() - self._started >= self._limits.seconds else None

    def _capped(self, result: ToolResult) -> ToolResult:
        """The beginning and the end of a long result, and word of what is between them."""
        assert self._usage is not None
        used = self._usage.prompt_tokens + self._usage.completion_tokens
        quarter = max(0, self._context_length - used) // 4
        most = min(MAX_RESULT_BYTES, max(LEAST_RESULT_BYTES, 3 * quarter))
        raw = result.text.encode()
        if len(raw) <= most:
            return result
        head, tail = most * 3 // 4, most // 4
        left_out = len(raw) - head - tail
        text = (
            raw[:head].decode(errors="ignore")
            + f"\n[{left_out} bytes left out]\n"
            + raw[-tail:].decode(errors="ignore")
        )
        return replace(result, text=text)


Approve = Callable[[PendingCall], Awaitable[bool]]
"""Asks somebody; False without an answer."""


async def nobody(pending: PendingCall) -> bool:
    """Nobody can be asked: no."""
    return False


def is_overflow(error: RequestError, loop: AgentLoop) -> bool:
    """Whether what tools gave does not fit, rather than what the caller sent."""
    return loop.is_begun and error.code == CONTEXT_OVERFLOW


async def run_turn(
    loop: AgentLoop,
    session: ToolSession,
    write: Callable[[TurnRequest], AsyncIterator[Event]],
    approve: Approve = nobody,
) -> AsyncIterator[Event]:
    """Carry out a loop: write, run what is asked for, write on, up to `Finished`."""
    tools = {tool.spec.name: tool for tool in session.tools}
    while loop.request is not None:
        try:
            async for event in write(loop.request):
                for passed in loop.take(event):
                    yield passed
        except RequestError as error:
            if not is_overflow(error, loop):
                raise
            for passed in loop.cut():
                yield passed
        if pending := loop.pending:
            if pending.must_ask and not await approve(pending):
                passed_on = loop.refuse()
            else:
                tool = tools[pending.spec.name]
                passed_on = loop.put(await tool.call(pending.call.arguments))
            for passed in passed_on:
                yield passed
