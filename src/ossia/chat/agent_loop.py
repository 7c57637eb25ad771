"""The agent loop: generate, run the called tool, generate again, until the answer.

One loop for the server, which awaits it, and for the library, which steps through it (see
sync_tools.py). Knows no thread, no process, no HTTP.
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
"""Limit of a denial's reason."""
DENIED = "error: the user did not allow this call; go on without it"
UNASKED = "error: this call needs approval, and nobody can give it here; go on without it"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopLimits:
    """Limits of tool calls, after which the model must answer."""

    calls: int = 25
    """Tool calls in one turn."""
    seconds: float = 600.0
    """Time since the turn started."""


@dataclass(frozen=True, slots=True)
class PendingCall:
    """A call of a built-in tool before it runs."""

    call: ToolCalled
    spec: ToolSpec
    needs_approval: bool
    """Whether this call needs approval."""


Generate = Callable[[TurnRequest], AsyncIterator[Event]]
"""Runs one generation."""
Approve = Callable[[PendingCall], Awaitable[bool]]
"""Asks for approval; False without an answer."""
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
        """Prepare a turn.

        Args:
            request: of the first generation, with the policy for calls.
            session: the conversation's tools.
            context_length: in tokens; a result takes at most a quarter of the rest.
            clock: seconds.
            limits: of tool calls; the request may lower them.
            labels: of the conversation's earlier results; modified.
            prompt_tokens: of the request, if it starts with a call.
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
        """Yield every event of the turn; the last one is `Finished`.

        Args:
            generate: runs one generation.
            approve: called before a call that needs approval; None: such calls are refused.
            call: runs a tool; by default: `session.call`.

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
                    yield self._end("length")  # the tools' results fill the context

    def cancel(self) -> None:
        """Start no further generation or call; the turn ends as cancelled."""
        self._is_cancelled = True

    @property
    def _is_begun(self) -> bool:
        """Whether the turn has yielded an event."""
        return self._usage is not None or self._policy.decision is not None

    def _resume(self) -> Iterator[Event]:
        """Yield the approved or denied call before the first generation."""
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
        """Return the call's result, or its refusal."""
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
        """Forward an event of a generation, except a `Finished` before the turn's end."""
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
        """Handle a finished message: it may be a call of a built-in tool, or need approval."""
        call, tool = self._call, self._tools.get(recipient)
        if call is None or tool is None:
            return
        self._pending = PendingCall(call, tool.spec, self._needs_approval(call, tool.spec))
        if self._waits(self._pending):
            yield ApprovalRequested(call.call_id, call.name, call.arguments)

    def _waits(self, pending: PendingCall) -> bool:
        return pending.needs_approval and pending.spec.name in self._policy.pause_for_approval

    def _take_finished(self, finished: Finished) -> Iterator[Event]:
        """Handle a finished generation: run a call, or end the turn."""
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
        """Yield the result of a call, and add it to the next request."""
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
        """Return the tools of the next request; no built-in ones once a limit is reached."""
        if not self._limit or request.tool_choice == "none":
            return {"tool_choice": "none" if request.tool_choice == "none" else "auto"}
        names = request.tools if request.allowed_tools is None else request.allowed_tools
        theirs = tuple(name for name in names if request.full_name(name) not in self._tools)
        return {"tool_choice": "auto" if theirs else "none", "allowed_tools": theirs}

    def _count(self, usage: Usage) -> None:
        """Add up usage: tool results count once, as input; earlier output does not."""
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
        """Shorten a long result to its beginning and end, with a note of what is omitted."""
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
    """Return the refusal for the model; the user's reason is JSON-quoted data."""
    if not reason:
        return DENIED
    return f"{DENIED}. The reason given: {json.dumps(reason[:MAX_REASON_CHARS])}"
