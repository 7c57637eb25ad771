"""The agent loop: generate, run the tool that was called, generate again, up to the answer.

One loop for the server, which awaits it, and for the library, which steps through it (see
sync_tools.py). Knows no thread, no process, no wire.
"""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
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
    TurnEnd,
    Usage,
    result_message,
)
from ossia.chat.request import ApprovalDecision, TurnRequest
from ossia.errors import CONTEXT_OVERFLOW, RequestError
from ossia.harmony.messages import FUNCTIONS, Message
from ossia.tools.tool import (
    MAX_RESULT_BYTES,
    Label,
    Listener,
    ToolResult,
    ToolSession,
    ToolSpec,
    adds_up,
)

LEAST_RESULT_BYTES = 1024
MAX_REASON_CHARS = 1000
"""Of the words with which a call is denied."""
DENIED = "error: the user did not allow this call; go on without it"
UNASKED = "error: this call needs a yes, and nobody can be asked here; go on without it"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopLimits:
    """When the model must answer without further tool calls."""

    calls: int = 25
    """Tool calls in one turn."""
    seconds: float = 600.0
    """Since the turn began."""


@dataclass(frozen=True, slots=True)
class PendingCall:
    """A tool call that waits to be run here."""

    call: ToolCalled
    spec: ToolSpec
    needs_approval: bool
    """Whether exactly this call needs approval first."""


Generate = Callable[[TurnRequest], AsyncIterator[Event]]
"""Writes one generation."""
Approve = Callable[[PendingCall], Awaitable[bool]]
"""Asks somebody; False without an answer."""
Call = Callable[[PendingCall], Awaitable[ToolResult]]
"""Runs a tool."""


class AgentLoop:
    """One turn with tools, from its request to `Finished`."""

    def __init__(
        self,
        request: TurnRequest,
        session: ToolSession,
        *,
        context_length: int,
        clock: Callable[[], float],
        limits: LoopLimits,
        labels: set[Label],
        prompt_tokens: int = 0,
    ) -> None:
        """Begin with the request as it is.

        Args:
            request: what to write first, and the rules for calls meanwhile.
            session: the conversation's tools.
            context_length: tokens; a result takes at most a quarter of what is left.
            clock: seconds.
            limits: when calls end; the request may lower them.
            labels: what earlier calls of the conversation brought into it; added to.
            prompt_tokens: of the request, where its first call comes before its first generation.
        """
        self._request: TurnRequest | None = request
        self._pending: PendingCall | None = None
        self._policy = request.tool_policy
        self._session = session
        self._tools = {tool.spec.name: tool for tool in session.tools}
        self._context_length = context_length
        self._clock = clock
        self._limits = limits
        self._labels = labels
        self._started = self._called = clock()
        self._num_calls = 0
        self._messages: list[Message] = []
        self._call: ToolCalled | None = None
        self._usage: Usage | None = None
        self._context_tokens = prompt_tokens
        self._limit: Literal["calls", "time"] | None = None
        self._tokens_left = request.params.max_tokens
        self._is_cancelled = False
        if isinstance(session, Listener):
            for message in request.conversation.messages:
                if message.role == "user":
                    session.heard(message.text)

    async def run(
        self, generate: Generate, approve: Approve | None = None, call: Call | None = None
    ) -> AsyncGenerator[Event, None]:
        """Every event of the turn, the last one `Finished`.

        Args:
            generate: writes one generation.
            approve: asked before a call that needs approval; None: such calls are refused.
            call: runs a tool; by default it is awaited here.

        Raises:
            RequestError: the first generation was refused.
        """
        for event in self._resume():
            yield event
        while self._request is not None:
            if self._is_cancelled:
                yield self._end("cancelled")
            elif (pending := self._pending) is not None:
                result = await self._result_of(pending, approve, call or self._run_tool)
                for event in self._continue_with(pending.call, result):
                    yield event
            else:
                try:
                    async for written in generate(self._request):
                        for event in self._take(written):
                            yield event
                except RequestError as error:
                    if not self._is_begun or error.code != CONTEXT_OVERFLOW:
                        raise
                    yield self._end("length")  # what tools gave leaves no room for another word

    def cancel(self) -> None:
        """Begin no further generation and no further call; the turn ends as cancelled."""
        self._is_cancelled = True

    @property
    def _is_begun(self) -> bool:
        """Whether the turn has had an event."""
        return self._usage is not None or self._policy.decision is not None

    def _resume(self) -> Iterator[Event]:
        """Before the first generation: the call that was decided on, as if just written."""
        if (decision := self._policy.decision) is None:
            return
        call = _called(decision)
        self._messages.append(decision.call)
        yield PartStarted("call", call.call_id, call.name)
        yield ArgumentsDelta(call.arguments)
        yield call
        yield PartFinished(decision.call, is_whole=True)
        self._called = self._clock()
        tool = self._tools.get(decision.call.recipient or "")
        if not decision.allows:
            yield from self._continue_with(call, _error(_denied(decision.reason)))
        elif tool is None:
            gone = f"error: there is no tool {call.name} any more"
            yield from self._continue_with(call, _error(gone))
        else:
            self._pending = PendingCall(call, tool.spec, needs_approval=False)

    async def _result_of(
        self, pending: PendingCall, approve: Approve | None, call: Call
    ) -> ToolResult:
        """What the call gives, or the refusal of it."""
        if pending.needs_approval and approve is None:
            return _error(UNASKED)
        if pending.needs_approval and approve is not None and not await approve(pending):
            return _error(DENIED)
        result = await call(pending)
        self._labels |= pending.spec.labels
        return result

    async def _run_tool(self, pending: PendingCall) -> ToolResult:
        return await self._tools[pending.spec.name].call(pending.call.arguments)

    def _take(self, event: Event) -> Iterator[Event]:
        """Pass on an event of a generation; no `Finished` if the turn goes on."""
        if isinstance(event, Finished):
            yield from self._take_finished(event)
            return
        if isinstance(event, PartFinished):
            self._messages.append(event.message)
            yield from self._take_call(event.message.recipient or "")
        elif isinstance(event, ToolCalled):
            self._call = event
        yield event

    def _take_call(self, recipient: str) -> Iterator[Event]:
        """A message is over: it may be a call of ours, and one that waits for approval."""
        call, tool = self._call, self._tools.get(recipient)
        if call is None or tool is None:
            return
        self._pending = PendingCall(call, tool.spec, self._needs_approval(call, tool.spec))
        if self._waits(self._pending):
            yield ApprovalRequested(call.call_id, call.name, call.arguments)

    def _waits(self, pending: PendingCall) -> bool:
        return pending.needs_approval and pending.spec.name in self._policy.pause_for_approval

    def _take_finished(self, finished: Finished) -> Iterator[Event]:
        """A generation is over: a call follows, or the turn ends."""
        self._count(finished.usage)
        pending, self._pending = self._pending, None
        reason = finished.reason
        if pending is not None and reason == "tool_calls" and not self._waits(pending):
            if self._tokens_left is None or self._tokens_left > 0:
                self._pending = pending
                self._called = self._clock()
                return
            reason = "length"
        yield self._end(reason, finished.timing)

    def _end(self, reason: TurnEnd, timing: Timing | None = None) -> Finished:
        self._request = None
        usage = self._usage or Usage(self._context_tokens)
        return Finished(reason, usage, timing or Timing(), self._limit)

    def _continue_with(self, call: ToolCalled, result: ToolResult) -> Iterator[Event]:
        """Pass on the result of a call, and go on with it in the next request."""
        assert self._request is not None
        request = self._request
        seconds = self._clock() - self._called
        self._num_calls += 1
        ran = ToolFinished(call.call_id, call.name, call.arguments, self._capped(result), seconds)
        yield ran
        before, written = request.conversation, self._messages
        messages = (*before.messages, *written, result_message(ran, written[-1]))
        params = replace(
            request.params,
            max_tokens=self._tokens_left,
            seed=None if request.params.seed is None else request.params.seed + 1,
        )
        self._limit = self._find_limit()
        self._request = replace(
            request,
            conversation=replace(before, messages=messages),
            params=params,
            **self._callable(request),
        )
        self._pending, self._call, self._messages = None, None, []

    def _callable(self, request: TurnRequest) -> dict[str, Any]:
        """What may be called next; when a limit is reached, none of our tools."""
        if not self._limit or request.tool_choice == "none":
            return {"tool_choice": "none" if request.tool_choice == "none" else "auto"}
        names = request.tools if request.allowed_tools is None else request.allowed_tools
        theirs = tuple(name for name in names if request.full_name(name) not in self._tools)
        return {"tool_choice": "auto" if theirs else "none", "allowed_tools": theirs}

    def _count(self, usage: Usage) -> None:
        """What tools gave counts once, as input; what was written before it is no input."""
        self._context_tokens = usage.prompt_tokens + usage.completion_tokens
        if self._tokens_left is not None:
            self._tokens_left -= usage.completion_tokens
        if before := self._usage:
            usage = Usage(
                usage.prompt_tokens - before.completion_tokens,
                usage.completion_tokens + before.completion_tokens,
                usage.reasoning_tokens + before.reasoning_tokens,
                before.cached_tokens,
            )
        self._usage = usage

    def _needs_approval(self, call: ToolCalled, spec: ToolSpec) -> bool:
        if spec.approval == "always" or spec.name in self._policy.require_approval:
            return True
        if self._session.needs_approval(spec.name, call.arguments):
            return True
        return adds_up(self._labels, spec.labels)

    def _find_limit(self) -> Literal["calls", "time"] | None:
        most = self._limits.calls if self._policy.max_calls is None else self._policy.max_calls
        if self._num_calls >= min(most, self._limits.calls):
            return "calls"
        return "time" if self._clock() - self._started >= self._limits.seconds else None

    def _capped(self, result: ToolResult) -> ToolResult:
        """The beginning and the end of a long result, and word of what is between them."""
        quarter = max(0, self._context_length - self._context_tokens) // 4
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


def _called(decision: ApprovalDecision) -> ToolCalled:
    name = (decision.call.recipient or "").removeprefix(f"{FUNCTIONS}.")
    return ToolCalled(decision.call_id, name, decision.call.text)


def _error(text: str) -> ToolResult:
    return ToolResult(text=text, is_error=True)


def _denied(reason: str) -> str:
    """What the model reads of a refusal; the user's reason is data, on the same line."""
    if not reason:
        return DENIED
    return f"{DENIED}. The reason given: {json.dumps(reason[:MAX_REASON_CHARS])}"
