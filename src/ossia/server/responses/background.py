"""The running responses: lookup by id, cancelling, background runs.

A background response has no connection: its events go to the store, and readers
take both past and new events from there.
"""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field

from ossia.errors import StoreError, log_failure
from ossia.server.responses.objects import Json
from ossia.server.responses.run import Run
from ossia.server.responses.writer import TERMINAL
from ossia.server.services import Services
from ossia.store.responses import StoredResponse
from ossia.store.schema import RUNNING

FLUSH_SECONDS = 0.05
"""Events of this period are written to disk together."""
LOST = "the server stopped while it wrote this response"


@dataclass(eq=False)
class _BackgroundRun:
    """A running background response."""

    run: Run
    waiting: list[tuple[int, str]] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    flushed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set and replaced each time events are stored."""
    is_over: bool = False
    task: "asyncio.Task[None] | None" = None


class RunningResponses:
    """The running responses of this server."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._runs: dict[str, Run] = {}
        self._background: dict[str, _BackgroundRun] = {}

    def add(self, run: Run) -> None:
        """Register a response; it is removed when it is closed."""
        self._runs[run.writer.id] = run
        run.on_close = lambda response_id: self._runs.pop(response_id, None)

    def find(self, response_id: str, owner: str) -> Run | None:
        """Return a running response of this owner, or None."""
        run = self._runs.get(response_id)
        return run if run is not None and run.owner == owner else None

    def start(self, run: Run) -> None:
        """Run a response in the background."""
        background = _BackgroundRun(run)
        self._background[run.writer.id] = background
        background.task = asyncio.create_task(self._write(background))

    async def ended(self, response_id: str) -> None:
        """Wait until a background response is completely stored; return at once for others."""
        background = self._background.get(response_id)
        if background is not None and background.task is not None:
            await asyncio.shield(background.task)

    async def close(self) -> None:
        """End running background responses as failed, and wait until they are stored."""
        tasks = []
        for background in self._background.values():
            background.run.abort()
            tasks.append(background.task)
        await asyncio.gather(*(task for task in tasks if task is not None))

    async def followed(self, response: StoredResponse, after: int) -> AsyncGenerator[Json, None]:
        """Yield the events of a background response after a sequence number, stored and new.

        Args:
            response: the stored response.
            after: sequence number of the last event the reader has; -1: none.
        """
        run = self._runs.get(response.response_id)
        number = after
        try:
            async with aclosing(self._stored(response, after)) as events:
                async for event in events:
                    number = event["sequence_number"]
                    yield event
                    if event["type"] in TERMINAL:
                        return
            row = await asyncio.wrap_future(
                self._services.responses.get(response.response_id, response.owner)
            )
        except StoreError as error:
            log_failure(error, response.response_id)
            row = None
        yield _terminal_event(response, row, run, number + 1)

    async def _stored(self, response: StoredResponse, number: int) -> AsyncGenerator[Json, None]:
        """Yield stored events after a number, until no more will be stored."""
        while True:
            background = self._background.get(response.response_id)
            flushed = background.flushed if background else None
            rows = await asyncio.wrap_future(
                self._services.responses.events(response.response_id, response.owner, number)
            )
            for _, text in rows:
                yield json.loads(text)
            if rows:
                number = rows[-1][0]
            elif flushed is not None:
                await flushed.wait()
            else:
                return

    async def _write(self, background: _BackgroundRun) -> None:
        with self._services.drain.work():
            await self._written(background)

    async def _written(self, background: _BackgroundRun) -> None:
        flushing = asyncio.create_task(self._flush(background))
        try:
            async with aclosing(background.run.events()) as events:
                async for event in events:
                    background.waiting.append((event["sequence_number"], json.dumps(event)))
                    background.arrived.set()
        finally:
            background.run.close()
            background.is_over = True
            background.arrived.set()
            try:
                await flushing
            finally:
                del self._background[background.run.writer.id]
                background.flushed.set()

    async def _flush(self, background: _BackgroundRun) -> None:
        """Store events in batches of a short period."""
        run = background.run
        while not background.is_over or background.waiting:
            await background.arrived.wait()
            background.arrived.clear()
            several, background.waiting = background.waiting, []
            try:
                appended = self._services.responses.append_events(run.writer.id, several)
                await asyncio.wrap_future(appended)
            except StoreError as error:  # the row has the result; only these events are lost
                log_failure(error, run.request_id)
            flushed, background.flushed = background.flushed, asyncio.Event()
            flushed.set()
            if not background.is_over:
                await asyncio.sleep(FLUSH_SECONDS)


async def settle_unfinished(services: Services) -> None:
    """Mark every response that an earlier server left unfinished as failed.

    Raises:
        StoreError: the store cannot be read or written.
    """
    for row in await asyncio.wrap_future(services.responses.unfinished()):
        body = failed(json.loads(row.body))
        finished = services.responses.finish(
            row.response_id, status=body["status"], body=json.dumps(body), turn=row.turn
        )
        await asyncio.wrap_future(finished)


def failed(body: Json) -> Json:
    """Return the Response object of an interrupted response."""
    error = {"code": "server_error", "message": LOST}
    return {**body, "status": "failed", "error": error, "completed_at": None}


def _terminal_event(
    response: StoredResponse, row: StoredResponse | None, run: Run | None, number: int
) -> Json:
    """Create the terminal event of a response that was lost or deleted meanwhile."""
    if row is not None:
        body = json.loads(row.body)
    else:
        body = run.writer.response if run else json.loads(response.body)
    if body["status"] in RUNNING:
        body = failed(body)
    name = "incomplete" if body["status"] == "cancelled" else body["status"]
    return {"type": f"response.{name}", "response": body, "sequence_number": number}
