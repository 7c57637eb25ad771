"""Tools for library and command line: they run on a thread of their own, for callers that wait.

Knows how a turn with tools is carried out step by step; the server has `loop.run_turn`.
"""

import asyncio
import threading
import time
import weakref
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from ossia.chat.agent_loop import AgentLoop, LoopLimits, PendingCall, is_overflow
from ossia.chat.events import Event
from ossia.chat.request import TurnRequest
from ossia.errors import RequestError
from ossia.harmony.messages import Conversation, FunctionTool
from ossia.tools.sessions import ToolSource, open_session, to_prompt
from ossia.tools.tool import Label, ToolResult, ToolSpec

Asked = TypeVar("Asked")


class Tools:
    """The tools of one conversation, and their state. Close it, or use it as a context manager."""

    def __init__(
        self,
        *given: ToolSource,
        approve: Callable[[PendingCall], bool] = lambda pending: False,
        limits: LoopLimits | None = None,
    ) -> None:
        """Open the tools.

        Args:
            given: tools, kits, or Python functions with type hints.
            approve: asked before a call that needs a yes; says no unless given.
            limits: when calls end and the model must answer.

        Raises:
            OssiaError: a kit cannot be offered here, with the reason.
            RequestError: two tools have one name, or a function cannot be told to the model.
        """
        self.approve = approve
        self.limits = limits or LoopLimits()
        self.gathered: set[Label] = set()
        """What calls brought into the conversation so far."""
        self._thread = _LoopThread()
        self._close = weakref.finalize(self, self._thread.close)
        try:
            self.session = self._thread.run(open_session(given))
        except BaseException:
            self._close()
            raise

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        """What is known of each tool."""
        return tuple(tool.spec for tool in self.session.tools)

    def call(self, pending: PendingCall) -> ToolResult:
        """Run a call; waits for its result."""
        tools = {tool.spec.name: tool for tool in self.session.tools}
        return self._thread.run(tools[pending.spec.name].call(pending.call.arguments))

    def announce(self, spoken: Conversation) -> Conversation:
        """The same conversation, with these tools in its prompt.

        Raises:
            RequestError: a function of the conversation has the name of a tool.
        """
        tools = to_prompt(self.specs, self.session.descriptions)
        return replace(
            spoken,
            builtins=tools.builtins,
            functions=(*spoken.functions, *tools.functions),
            namespaces=tools.namespaces,
        )

    def close(self) -> None:
        """End every tool; closing twice does no harm."""
        if self._close.alive:
            self._thread.run(self.session.close())
            self._close()

    def __enter__(self) -> Self:
        """Use as a context manager."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()


class ToolTurn(Iterator[Event]):
    """A turn with tools: write, run what is called, write on, up to `Finished`."""

    def __init__(
        self,
        tools: Tools,
        request: TurnRequest,
        write: Callable[[TurnRequest], "Written"],
        context_length: int,
        *,
        close: bool,
    ) -> None:
        """Begin to write; what cannot be written is refused here.

        Args:
            tools: what may be called.
            request: with the tools announced.
            write: writes one generation.
            context_length: tokens of one request.
            close: whether the tools are closed with the turn.
        """
        for message in request.conversation.messages:
            if message.role == "user":
                tools.session.heard(message.text)
        self._tools = tools
        self._write = write
        self._closes = close
        self._loop = AgentLoop(
            request,
            tools.session,
            context_length=context_length,
            clock=time.monotonic,
            limits=tools.limits,
            gathered=tools.gathered,
        )
        self._written = write(request)
        self._events = self._run()

    def __next__(self) -> Event:
        """Wait for the next event."""
        try:
            return next(self._events)
        except BaseException:
            self._end()
            raise

    def close(self) -> None:
        """Stop writing, and run nothing more."""
        self._loop.request = None
        self._written.close()

    def _run(self) -> Iterator[Event]:
        loop, tools = self._loop, self._tools
        while loop.request is not None:
            for event in self._written:
                yield from loop.take(event)
            if pending := loop.pending:
                if pending.must_ask and not tools.approve(pending):
                    yield from loop.refuse()
                else:
                    yield from loop.put(tools.call(pending))
                if loop.request is not None:  # None: closed meanwhile
                    yield from self._go_on(loop.request)

    def _go_on(self, request: TurnRequest) -> Iterator[Event]:
        try:
            self._written = self._write(request)
        except RequestError as error:
            if not is_overflow(error, self._loop):
                raise
            yield from self._loop.cut()

    def _end(self) -> None:
        if self._closes:
            self._tools.close()


class Written(Iterator[Event], Protocol):
    """The events of one generation."""

    def close(self) -> None:
        """Cancel what is left."""
        ...


Described = FunctionTool | Mapping[str, Any]
Offered = Described | ToolSource


@dataclass(frozen=True, slots=True)
class Offer:
    """What a caller offers: functions he runs himself, and tools that are run here."""

    described: tuple[Described, ...]
    given: tuple[ToolSource, ...]
    held: Tools | None

    @classmethod
    def of(cls, tools: Tools | Sequence[Offered]) -> "Offer":
        """Sort them."""
        if isinstance(tools, Tools):
            return cls((), (), tools)
        return cls(
            tuple(one for one in tools if isinstance(one, FunctionTool | Mapping)),
            tuple(one for one in tools if not isinstance(one, FunctionTool | Mapping)),
            None,
        )

    @property
    def is_ours(self) -> bool:
        """Whether the tools live for one turn only."""
        return self.held is None

    def open(self) -> Tools | None:
        """The tools that are run here; None if there are none."""
        if self.held is not None:
            return self.held
        return Tools(*self.given) if self.given else None


class _LoopThread:
    """An event loop for callers that have none."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="ossia-tools", daemon=True
        )
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, Asked]) -> Asked:
        """Wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def close(self) -> None:
        """Stop the loop; closing twice does no harm."""
        if self._loop.is_closed():
            return
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
