"""Several turns of one request, run at once: begun together, read together, ended together.

Knows no wire format; a request for n choices is n turns.
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
    """Derive the seed of one choice; it does not depend on the number of choices."""
    if params.seed is None or choice == 0:
        return params
    digest = hashlib.sha256(f"{params.seed} {choice}".encode()).digest()
    return replace(params, seed=int.from_bytes(digest[:8], "big") >> 1)


class Turns:
    """Started turns; an async context manager that cancels them on exit."""

    def __init__(self, streams: Sequence[EventStream]) -> None:
        self._streams = streams

    async def __aenter__(self) -> "Turns":
        return self

    async def __aexit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Cancel every turn that still runs; idempotent."""
        for stream in self._streams:
            stream.close()

    async def events(self) -> AsyncGenerator[tuple[int, Event], None]:
        """Merge the turns' events, each with its turn's number, until all have finished.

        Raises:
            OssiaError: a turn failed, or the server cancelled it.
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
    """Start turns concurrently: all of them or, if one is refused, none.

    Raises:
        RequestError: a request is invalid.
        ProviderBusy: the queue is full.
        ProviderUnavailable: the engine is not running.
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
