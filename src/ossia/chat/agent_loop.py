"""The agent loop: what follows each generation of a turn, until there is an answer.

Decides only: who writes and who runs tools is told what to do and tells what came of it, so that
the library and the server go the same way. Knows no thread, no process, no wire.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from ossia.chat.events import (
    ApprovalRequested,
    ArgumentsDelta,
    Event,
    Finished,
    PartFinished,
    PartStarted,
    Timing,
    ToolCalled,
    ToolFinished,
    Usage,
    result_message,
)
from ossia.chat.request import Decision, TurnRequest
from ossia.errors import CONTEXT_OVERFLOW, RequestError
from ossia.harmony.messages import FUNCTIONS, Message
from ossia.tools.tool import MAX_RESULT_BYTES, Label, ToolResult, ToolSession, ToolSpec, adds_up

LEAST_RESULT_BYTES = 1024
MAX_REASON_CHARS = 1000
"""Of the words with which a call is denied."""
DENIED = "error: the user did not allow this call; go on without it"
UNASKED = "error: this call needs a yes, and nobody can be asked here; go on without it"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopLimits:
    """When the model must go on without our tools."""

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
        num_prompt: int = 0,
    ) -> None:
        """Begin with the request as it is.

        Args:
            request: what to write first, and what holds for calls meanwhile.
            session: the conversation's tools.
            context_length: tokens; a result takes at most a quarter of what is left.
            clock: seconds.
            limits: when calls end; the request may lower them.
            gathered: what earlier calls of the conversation brought into it; added to.
            num_prompt: tokens of the request, where its first call comes before its first word.
        """
        self.request: TurnRequest | None = request
        self.pending: PendingCall | None = None
        self._rules = request.calls
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
        self._in_use = num_prompt
        self._spent: Literal["calls", "time"] | None = None
        self._left = request.params.max_tokens

    def begin(self) -> Iterator[Event]:
        """Before the first generation: the call that was decided on, told as if just written."""
        if (decision := self._rules.decision) is None:
            return
        call = _called(decision)
        self._said.append(decision.call)
        yield PartStarted("call", call.call_id, call.name)
        yield ArgumentsDelta(call.arguments)
        yield call
        yield PartFinished(decision.call, is_whole=True)
        self._called = self._clock()
        spec = self._specs.get(decision.call.recipient or "")
        if not decision.allows:
            yield from self._go_on(call, ToolResult(text=_denied(decision.reason), is_error=True))
        elif spec is None:
            gone = f"error: there is no tool {call.name} any more"
            yield from self._go_on(call, ToolResult(text=gone, is_error=True))
        else:
            self.pending = PendingCall(call, spec, must_ask=False)

    def take(self, event: Event) -> Iterator[Event]:
        """Pass on one event of the generation; its `Finished` is held back if the turn goes on."""
        if isinstance(event, Finished):
            yield from self._end(event)
            return
        if isinstance(event, PartFinished):
            self._said.append(event.message)
            yield from self._ask(event.message.recipient or "")
        elif isinstance(event, ToolCalled):
            self._call = event
        yield event

    def cut(self) -> Iterator[Event]:
        """What tools gave leaves no room for another word: the turn ends here."""
        assert self.is_begun, "the first generation is refused, not cut"
        self.request = None
        yield Finished("length", self._usage or Usage(self._in_use), Timing(), self._spent)

    @property
    def is_begun(self) -> bool:
        """Whether anything of the turn was told."""
        return self._usage is not None or self._rules.decision is not None

    def put(self, result: ToolResult) -> Iterator[Event]:
        """What the pending call gave; then there is a request to write again."""
        assert self.pending is not None
        self._gathered |= self.pending.spec.labels
        yield from self._go_on(self.pending.call, result)

    def refuse(self, told: str = DENIED) -> Iterator[Event]:
        """The pending call was not allowed; the model is told so."""
        assert self.pending is not None
        yield from self._go_on(self.pending.call, ToolResult(text=told, is_error=True))

    def _ask(self, recipient: str) -> Iterator[Event]:
        """A message is over: it may be a call of ours, and one that the turn cannot run."""
        call, spec = self._call, self._specs.get(recipient)
        if call is None or spec is None:
            return
        self.pending = PendingCall(call, spec, self._must_ask(call, spec))
        if self._waits(self.pending):
            yield ApprovalRequested(call.call_id, call.name, call.arguments)

    def _waits(self, pending: PendingCall) -> bool:
        return pending.must_ask and pending.spec.name in self._rules.waits

    def _go_on(self, call: ToolCalled, result: ToolResult) -> Iterator[Event]:
        assert self.request is not None
        request = self.request
        seconds = self._clock() - self._called
        self._num_calls += 1
        ran = ToolFinished(call.call_id, call.name, call.arguments, self._capped(result), seconds)
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
            **self._callable(request),
        )
        self.pending, self._call, self._said = None, None, []

    def _callable(self, request: TurnRequest) -> dict[str, Any]:
        """What may be called next; when a limit is reached, none of our tools."""
        if not self._spent or request.tool_choice == "none":
            return {"tool_choice": "none" if request.tool_choice == "none" else "auto"}
        names = request.offered if request.allowed_tools is None else request.allowed_tools
        theirs = tuple(name for name in names if request.full_name(name) not in self._specs)
        return {"tool_choice": "auto" if theirs else "none", "allowed_tools": theirs}

    def _end(self, finished: Finished) -> Iterator[Event]:
        """A generation is over: another one follows, or the turn ends."""
        self._count(finished.usage)
        pending, self.pending = self.pending, None
        if pending is not None and finished.reason == "tool_calls" and not self._waits(pending):
            if self._left is None or self._left > 0:
                self.pending = pending
                self._called = self._clock()
                return
            finished = replace(finished, reason="length")
        self.request = None
        assert self._usage is not None
        yield replace(finished, usage=self._usage, spent=self._spent)

    def _count(self, usage: Usage) -> None:
        """What tools gave counts once, as input; what was written before it is no input."""
        self._in_use = usage.prompt_tokens + usage.completion_tokens
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
        if spec.approval == "always" or spec.name in self._rules.asks:
            return True
        if self._session.needs_approval(spec.name, call.arguments):
            return True
        return adds_up(self._gathered, spec.labels)

    def _limit_reached(self) -> Literal["calls", "time"] | None:
        most = self._limits.calls if self._rules.most is None else self._rules.most
        if self._num_calls >= min(most, self._limits.calls):
            return "calls"
        return "time" if self._clock() - self._started >= self._limits.seconds else None

    def _capped(self, result: ToolResult) -> ToolResult:
        """The beginning and the end of a long result, and word of what is between them."""
        quarter = max(0, self._context_length - self._in_use) // 4
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


def _called(decision: Decision) -> ToolCalled:
    name = (decision.call.recipient or "").removeprefix(f"{FUNCTIONS}.")
    return ToolCalled(decision.call_id, name, decision.call.text)


def _denied(reason: str) -> str:
    """What the model reads of a no; the words of whoever said it are data, on the same line."""
    if not reason:
        return DENIED
    return f"{DENIED}. The reason given: {json.dumps(reason[:MAX_REASON_CHARS])}"


Approve = Callable[[PendingCall], Awaitable[bool]]
"""Asks somebody; False without an answer."""


def is_overflow(error: RequestError, loop: AgentLoop) -> bool:
    """Whether what tools gave does not fit, rather than what the caller sent."""
    return loop.is_begun and error.code == CONTEXT_OVERFLOW


async def run_turn(
    loop: AgentLoop,
    session: ToolSession,
    write: Callable[[TurnRequest], AsyncIterator[Event]],
    approve: Approve | None = None,
) -> AsyncIterator[Event]:
    """Carry out a loop: write, run what is asked for, write on, up to `Finished`.

    Args:
        loop: what to do.
        session: what may be called.
        write: writes one generation.
        approve: asked for a yes at once; None: nobody can be.
    """
    for passed in loop.begin():
        yield passed
    while loop.request is not None:
        if pending := loop.pending:
            for passed in await _settled(loop, pending, session, approve):
                yield passed
            continue
        try:
            async for event in write(loop.request):
                for passed in loop.take(event):
                    yield passed
        except RequestError as error:
            if not is_overflow(error, loop):
                raise
            for passed in loop.cut():
                yield passed


async def _settled(
    loop: AgentLoop, pending: PendingCall, session: ToolSession, approve: Approve | None
) -> Iterator[Event]:
    """Run a call, or have it refused."""
    if pending.must_ask and approve is None:
        return loop.refuse(UNASKED)
    if pending.must_ask and approve is not None and not await approve(pending):
        return loop.refuse()
    tools = {tool.spec.name: tool for tool in session.tools}
    return loop.put(await tools[pending.spec.name].call(pending.call.arguments))
