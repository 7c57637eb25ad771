"""The agent loop around a provider: a turn with built-in tools is one stream of events.

Knows turns and tools; knows no HTTP and no process.
"""

import hashlib
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

from ossia.chat.agent_loop import AgentLoop, LoopLimits
from ossia.chat.events import ApprovalRequested, Event, Finished, ToolFinished
from ossia.chat.request import RawRequest, TurnRequest
from ossia.providers.provider import EventStream, ServedModel, TurnWriter
from ossia.providers.tool_sessions import ToolSessions

audit = logging.getLogger("ossia.audit")
"""Logs one line per tool call; silent until it has a handler."""


class AgentClient:
    """A `TurnWriter` that runs built-in tools and feeds their results back to the model."""

    def __init__(
        self,
        writer: TurnWriter,
        tool_sessions: ToolSessions,
        *,
        on_tool_call: Callable[[str, str], object] = lambda tool, outcome: None,
        limits: LoopLimits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Wrap a writer of turns.

        Args:
            writer: runs each generation.
            tool_sessions: the toolkits and their sessions.
            on_tool_call: receives a tool's namespace and its call's outcome.
            limits: of one turn; by default `LoopLimits()`.
            clock: seconds.
        """
        self._writer = writer
        self._tool_sessions = tool_sessions
        self._on_tool_call = on_tool_call
        self._limits = limits or LoopLimits()
        self._clock = clock

    @property
    def model(self) -> ServedModel:
        return self._writer.model

    async def start(self, request: TurnRequest | RawRequest) -> EventStream:
        first = await self._writer.start(request)
        if isinstance(request, RawRequest):
            return first
        if request.tool_policy.decision:  # `first` only counted the prompt: a call comes first
            first.close()
            return _AgentStream(self, request, first, is_first=False)
        conversation = request.conversation
        has_tools = conversation.builtins or conversation.namespaces
        return _AgentStream(self, request, first) if has_tools else first

    async def begin(self, request: TurnRequest) -> EventStream:
        """Start another generation of a turn."""
        return await self._writer.start(request)

    async def events(
        self,
        request: TurnRequest,
        write: Callable[[TurnRequest], AsyncIterator[Event]],
        prompt_tokens: int,
    ) -> AsyncIterator[Event]:
        """Yield every event of a turn and of the tools it calls."""
        async with AsyncExitStack() as stack:
            lease = await stack.enter_async_context(self._tool_sessions.lease(request.session))
            loop = AgentLoop(
                request,
                lease.session,
                context_length=self.model.context_length,
                clock=self._clock,
                limits=self._limits,
                labels=lease.labels,
                prompt_tokens=prompt_tokens,
            )
            async for event in loop.run(write):
                if isinstance(event, ToolFinished):
                    self._audit(event, request.session)
                elif isinstance(event, ApprovalRequested):
                    self._on_tool_call(event.name.partition(".")[0], "waits")
                yield event

    def _audit(self, ran: ToolFinished, session: str | None) -> None:
        """Count a tool call and log it with hashed arguments."""
        outcome = "failed" if ran.result.is_error else "ran"
        self._on_tool_call(ran.name.partition(".")[0], outcome)
        digest = hashlib.sha256(ran.arguments.encode()).hexdigest()
        conversation = hashlib.sha256((session or ran.call_id).encode()).hexdigest()[:16]
        audit.info(
            "%s %s %s %.3f s arguments=sha256:%s origin=%s conversation=%s",
            ran.call_id, ran.name, outcome, ran.seconds, digest,
            ascii(ran.result.origin), conversation,
        )  # fmt: skip


class _AgentStream:
    """An `EventStream` whose first generation has started, unless a call comes first."""

    def __init__(
        self,
        client: AgentClient,
        request: TurnRequest,
        first: EventStream,
        *,
        is_first: bool = True,
    ) -> None:
        self._client = client
        self._request = request
        self._stream: EventStream | None = first
        self._is_first = is_first
        self._is_closed = False
        self.prompt_tokens = first.prompt_tokens

    async def __aiter__(self) -> AsyncIterator[Event]:
        if self._is_closed:  # closed before it was read: run no tool
            return
        written = self._client.events(self._request, self._write, self.prompt_tokens)
        async for event in written:
            yield event
            if isinstance(event, Finished):
                return

    def close(self) -> None:
        self._is_closed = True
        if self._stream is not None:
            self._stream.close()

    async def _write(self, request: TurnRequest) -> AsyncIterator[Event]:
        if not self._is_first:
            self._stream = await self._client.begin(request)
        self._is_first = False
        assert self._stream is not None
        if self._is_closed:  # while a tool ran
            self._stream.close()
        async for event in self._stream:
            yield event
