"""Synchronous tools for library and command line; they run on their own thread."""

import sys
import threading
import time
import weakref
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Coroutine,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self, TypeVar

from ossia.chat.agent_loop import AgentLoop, LoopLimits, PendingCall
from ossia.chat.events import Event
from ossia.chat.request import TurnRequest
from ossia.harmony.messages import Conversation, FunctionTool
from ossia.tools.sessions import ToolSource, open_session, to_prompt
from ossia.tools.tool import Label, ToolResult, ToolSpec

T = TypeVar("T")

_CANCEL_SECONDS = 1.0
"""How long a tool may take to end when it is cancelled."""


class Tools:
    """The tools of one conversation and their state. Close it, or use it as a context manager."""

    def __init__(
        self,
        *sources: ToolSource,
        approve: Callable[[PendingCall], bool] = lambda pending: False,
        limits: LoopLimits | None = None,
    ) -> None:
        """Open the tools.

        Args:
            sources: tools, toolkits, or Python functions with type hints.
            approve: called before a call that needs approval; by default such calls are denied.
            limits: of tool calls.

        Raises:
            OssiaError: a toolkit is unavailable.
            RequestError: two tools have the same name, or a function has no valid schema.
        """
        self.approve = approve
        self.limits = limits or LoopLimits()
        self.labels: set[Label] = set()
        """Labels of the results so far."""
        self._thread = _LoopThread()
        self._close = weakref.finalize(self, self._thread.close)
        try:
            self.session = self._thread.run(open_session(sources))
        except BaseException:
            self._close()
            raise

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        """The specification of each tool."""
        return tuple(tool.spec for tool in self.session.tools)

    def call(self, pending: PendingCall) -> ToolResult:
        """Run a call and wait for its result."""
        tools = {tool.spec.name: tool for tool in self.session.tools}
        return self._thread.run(tools[pending.spec.name].call(pending.call.arguments))

    def declare(self, conversation: Conversation) -> Conversation:
        """Add these tools to a conversation's prompt.

        Raises:
            RequestError: a function of the conversation has the name of a tool.
        """
        tools = to_prompt(self.specs, self.session.descriptions)
        return replace(
            conversation,
            builtins=tools.builtins,
            functions=(*conversation.functions, *tools.functions),
            namespaces=tools.namespaces,
        )

    def close(self) -> None:
        """Close every tool; idempotent."""
        if self._close.alive:
            self._thread.run(self.session.close())
            self._close()

    def __enter__(self) -> Self:
        """Use as a context manager."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close."""
        self.close()


class ToolStream(Iterator[Event]):
    """The events of a turn with tools: steps through the agent loop on the caller's thread.

    Every await of the loop blocks instead (an event, a result, an approval), so that Ctrl-C
    interrupts it; the caller needs no event loop, and may have one.
    """

    def __init__(
        self,
        tools: Tools,
        request: TurnRequest,
        generate: Callable[[TurnRequest], "GenerationStream"],
        context_length: int,
        *,
        owns_tools: bool,
    ) -> None:
        """Start the first generation; an invalid request is refused here.

        Args:
            tools: what may be called.
            request: with the tools in its prompt.
            generate: runs one generation.
            context_length: tokens of one request.
            owns_tools: whether to close the tools at the end of the turn.
        """
        self._tools = tools
        self._start = generate
        self._owns_tools = owns_tools
        self._loop = AgentLoop(
            request,
            tools.session,
            context_length=context_length,
            clock=time.monotonic,
            limits=tools.limits,
            labels=tools.labels,
        )
        self._generation = generate(request)
        self._is_first = True
        self._events = self._loop.run(self._generate, self._approve, self._call)

    def __next__(self) -> Event:
        """Wait for the next event."""
        try:
            return _next(self._events)
        except StopAsyncIteration:
            self._end()
            raise StopIteration from None
        except BaseException:
            self._end()
            raise

    def close(self) -> None:
        """Cancel the turn and run no further tool."""
        self._loop.cancel()
        self._generation.close()

    async def _generate(self, request: TurnRequest) -> AsyncIterator[Event]:
        if not self._is_first:
            self._generation = self._start(request)
        self._is_first = False
        for event in self._generation:
            yield event

    async def _approve(self, pending: PendingCall) -> bool:
        return self._tools.approve(pending)

    async def _call(self, pending: PendingCall) -> ToolResult:
        return self._tools.call(pending)

    def _end(self) -> None:
        if self._owns_tools:
            self._tools.close()


def _next(events: AsyncGenerator[Event, None]) -> Event:
    """Return the next item of a generator that never suspends, without an event loop."""
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(None, None)  # else a loop that runs here would close it at its own end
    try:
        anext(events).__await__().send(None)
    except StopIteration as done:
        event: Event = done.value
        return event
    finally:
        sys.set_asyncgen_hooks(*hooks)
    raise RuntimeError("a coroutine of the synchronous agent loop has suspended")


class GenerationStream(Iterator[Event], Protocol):
    """The events of one generation."""

    def close(self) -> None:
        """Cancel the generation."""
        ...


Function = FunctionTool | Mapping[str, Any]
"""A described function: a call of it ends the turn."""


@dataclass(frozen=True, slots=True)
class ToolArgument:
    """The `tools` argument: described functions, and tools that run in this process."""

    functions: tuple[Function, ...]
    sources: tuple[ToolSource, ...]
    open_tools: Tools | None

    @classmethod
    def of(cls, tools: "Tools | Sequence[Function | ToolSource]") -> "ToolArgument":
        """Separate described functions from tools."""
        if isinstance(tools, Tools):
            return cls((), (), tools)
        return cls(
            tuple(one for one in tools if isinstance(one, FunctionTool | Mapping)),
            tuple(one for one in tools if not isinstance(one, FunctionTool | Mapping)),
            None,
        )

    @property
    def for_one_turn(self) -> bool:
        """Whether the tools are opened for the turn, and closed with it."""
        return self.open_tools is None

    def open(self) -> Tools | None:
        """Open the tools; None if there are none."""
        if self.open_tools is not None:
            return self.open_tools
        return Tools(*self.sources) if self.sources else None


class _LoopThread:
    """An event loop on its own thread."""

    def __init__(self) -> None:
        import asyncio  # with it ssl and sockets, for turns that have no tools

        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="ossia-tools", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        """Run until `close`, then cancel what still runs: a tool that Ctrl-C interrupted."""
        from asyncio import all_tasks, wait

        self._loop.run_forever()
        if tasks := all_tasks(self._loop):
            for task in tasks:
                task.cancel()
            self._loop.run_until_complete(wait(tasks, timeout=_CANCEL_SECONDS))

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the thread, and wait for its result."""
        from asyncio import run_coroutine_threadsafe

        return run_coroutine_threadsafe(coroutine, self._loop).result()

    def close(self) -> None:
        """Stop the loop; idempotent."""
        if self._loop.is_closed():
            return
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
