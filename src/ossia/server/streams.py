"""What a room of routes knows of the engine: turns are begun, their events are read.

Knows no process and no pipe: see `engine`.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Protocol

from ossia.chat.events import Event, Finished
from ossia.chat.request import RawRequest, TurnRequest
from ossia.errors import OssiaError
from ossia.server.api.errors import TooMany, Unavailable
from ossia.server.frames import ServedModel


class EngineBusy(TooMany):
    """The queue is full."""


class EngineDown(Unavailable):
    """There is no engine now, or it died while it wrote."""


class TurnFailed(OssiaError):
    """One turn went wrong inside the engine; others went on."""


class EventStream(Protocol):
    """The events of one turn."""

    @property
    def prompt_tokens(self) -> int:
        """Tokens of its prompt."""
        ...

    def __aiter__(self) -> AsyncIterator[Event]:
        """Events as they come; the last one is `Finished`.

        Raises:
            EngineDown: the engine died.
            TurnFailed: this turn went wrong.
        """
        ...

    def close(self) -> None:
        """Cancel what is left; closing twice does no harm."""
        ...


class EngineClient(Protocol):
    """What routes know of the engine."""

    @property
    def model(self) -> ServedModel:
        """The model that is served; raises EngineDown before it was first opened."""
        ...

    async def start(self, request: TurnRequest | RawRequest) -> EventStream:
        """Begin a turn.

        Raises:
            RequestError: it has no meaning.
            EngineBusy: too many wait already.
            EngineDown: there is no engine now.
        """
        ...


@dataclass(eq=False)
class Turn:
    """One turn on its way; the supervisor's end and the reader's."""

    id: int
    cancel: Callable[["Turn"], None]
    accepted: "asyncio.Future[int]"
    started: float
    prompt_tokens: int = 0
    waiting: deque[Event] = field(default_factory=deque)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    error: OssiaError | None = None
    last: float | None = None
    is_over: bool = False

    async def __aiter__(self) -> AsyncIterator[Event]:
        """See `EventStream`."""
        while True:
            while self.waiting:
                event = self.waiting.popleft()
                yield event
                if isinstance(event, Finished):
                    return
            if self.error is not None:
                raise self.error
            self.arrived.clear()
            await self.arrived.wait()

    def close(self) -> None:
        """See `EventStream`."""
        if not self.is_over:
            self.cancel(self)
            self.fail(TurnFailed("the turn was cancelled"))

    def push(self, event: Event) -> None:
        """One more event."""
        self.waiting.append(event)
        self.is_over = isinstance(event, Finished)
        self.arrived.set()

    def fail(self, error: OssiaError) -> None:
        """No more events."""
        self.is_over = True
        self.error = error
        if not self.accepted.done():
            self.accepted.set_exception(error)
            self.accepted.exception()  # whoever began it may have gone
        self.arrived.set()
