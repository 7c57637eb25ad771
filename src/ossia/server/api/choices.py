"""Several turns of one request, run at once: begun together, read together, ended together.

It knows no wire format; each answer of n choices is n turns.
"""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace

from ossia.chat.events import Event, Finished
from ossia.chat.request import RawRequest, TurnRequest
from ossia.engine.request import SamplingParams
from ossia.providers.provider import EventStream, TurnWriter
from ossia.server.api.errors import Unavailable


def seeded(params: SamplingParams, choice: int) -> SamplingParams:
    """What one choice of several draws from: its own seed, the same however many there are."""
    if params.seed is None or choice == 0:
        return params
    digest = hashlib.sha256(f"{params.seed} {choice}".encode()).digest()
    return replace(params, seed=int.from_bytes(digest[:8], "big") >> 1)


class Turns:
    """Turns that were begun; leaving them, in whatever way, cancels what is left of them."""

    def __init__(self, streams: Sequence[EventStream]) -> None:
        self._streams = streams

    async def __aenter__(self) -> "Turns":
        return self

    async def __aexit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Cancel what is left; closing twice does no harm."""
        for stream in self._streams:
            stream.close()

    async def events(self) -> AsyncGenerator[tuple[int, Event], None]:
        """Each turn's number and its events, as they come, until all have finished.

        Raises:
            OssiaError: one of them went wrong, or was cancelled by the server.
        """
        if len(self._streams) == 1:
            async for event in self._streams[0]:
                yield 0, _not_cancelled(event)
            return
        queue: asyncio.Queue[tuple[int, Event | Exception]] = asyncio.Queue(len(self._streams))
        tasks = [
            asyncio.create_task(_forward(number, stream, queue))
            for number, stream in enumerate(self._streams)
        ]
        try:
            left = len(tasks)
            while left:
                number, one = await queue.get()
                if isinstance(one, Exception):
                    raise one
                yield number, _not_cancelled(one)
                left -= isinstance(one, Finished)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)


async def begin(engine: TurnWriter, requests: Sequence[TurnRequest | RawRequest]) -> Turns:
    """Begin turns at once: all of them or, where one is refused, none.

    Raises:
        RequestError: one has no meaning.
        ProviderBusy: too many wait already.
        ProviderUnavailable: there is no engine now.
    """
    starts = [asyncio.ensure_future(engine.start(request)) for request in requests]
    try:
        return Turns(await asyncio.gather(*starts))
    except BaseException:
        for start in starts:
            start.cancel()
        for stream in await asyncio.gather(*starts, return_exceptions=True):
            if not isinstance(stream, BaseException):
                stream.close()
        raise


async def _forward(
    number: int, stream: EventStream, queue: "asyncio.Queue[tuple[int, Event | Exception]]"
) -> None:
    try:
        async for event in stream:
            await queue.put((number, event))
    except Exception as error:  # raised again by the reader of the queue
        await queue.put((number, error))


def _not_cancelled(event: Event) -> Event:
    if isinstance(event, Finished) and event.reason == "cancelled":
        raise Unavailable("the server is being stopped; try again")
    return event
