"""Server-sent events: sends frames, heartbeats, and detects a client that disconnected.

Knows bytes and connections, not events.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Awaitable, Mapping
from contextlib import aclosing
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from ossia.errors import log_failure
from ossia.server.api.choices import Turns
from ossia.server.api.errors import INVALID, HttpError, as_http, is_expected
from ossia.server.api.json_body import Json

HEARTBEAT_SECONDS = 15.0
HEARTBEAT = b": still here\n\n"
DONE = b"data: [DONE]\n\n"

Result = TypeVar("Result")
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


class ClientGone(HttpError):
    """The client disconnected; the status appears only in the log."""

    def __init__(self) -> None:
        super().__init__(499, INVALID, "client_closed", "the client closed the connection")


def sse_frame(content: Mapping[str, Any], event: str | None = None) -> bytes:
    """Encode one event."""
    text = _ENCODER.encode(content)
    head = f"event: {event}\n" if event else ""
    return f"{head}data: {text}\n\n".encode()


class EventStreamResponse(Response):
    """Streams frames, with a comment as heartbeat when idle.

    When the client disconnects, the generator of frames is closed at once: its `finally`
    is the place to cancel work. Nothing is read ahead: a slow client slows the generator down.
    """

    media_type = "text/event-stream"

    def __init__(
        self, frames: AsyncGenerator[bytes, None], headers: Mapping[str, str] | None = None
    ) -> None:
        """Take ownership of the frames' generator; it is always closed."""
        super().__init__(
            headers={"cache-control": "no-cache", "x-accel-buffering": "no", **(headers or {})}
        )
        del self.headers["content-length"]
        self._frames = frames
        self._num_sent = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stream until the frames end or the client disconnects."""
        tasks = [
            asyncio.create_task(one)
            for one in (self._write(send), _wait_for_disconnect(receive), self._keep_alive(send))
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks[1:]:
                task.cancel()
            if not tasks[0].done():
                tasks[0].cancel()
            await asyncio.wait(tasks)
            await self._frames.aclose()
        if not tasks[0].cancelled() and (error := tasks[0].exception()):
            raise error

    async def _write(self, send: Send) -> None:
        await send(
            {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        )
        async for frame in self._frames:
            self._num_sent += 1
            await send({"type": "http.response.body", "body": frame, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _keep_alive(self, send: Send) -> None:
        while True:
            before = self._num_sent
            await asyncio.sleep(HEARTBEAT_SECONDS)
            if self._num_sent == before:
                beat: Message = {
                    "type": "http.response.body", "body": HEARTBEAT, "more_body": True,
                }  # fmt: skip
                await send(beat)


async def unless_gone(request: Request, answer: Awaitable[Result]) -> Result:
    """Await an answer, and cancel it if the client disconnects.

    Raises:
        ClientGone: the client disconnected.
    """
    task = asyncio.ensure_future(answer)
    gone = asyncio.create_task(_wait_for_disconnect(request.receive))
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientGone
        return task.result()
    finally:
        gone.cancel()
        if not task.done():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def _wait_for_disconnect(receive: Receive) -> None:
    """Wait until the client disconnects."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def framed(
    turns: Turns, chunks: AsyncGenerator[Json, None], request_id: str
) -> AsyncGenerator[bytes, None]:
    """Encode the turns' chunks as frames; closing the generator closes the turns.

    The first frame is empty. Once it is read the generator runs: closing one that never
    started would skip its `finally` and leave the turns running.

    Args:
        turns: the running turns.
        chunks: made of their events.
        request_id: for the log.
    """
    async with turns:
        yield b""
        try:
            async with aclosing(chunks):
                async for chunk in chunks:
                    yield sse_frame(chunk)
            yield DONE
        except Exception as error:  # too late for a status: the error goes into the stream
            found = as_http(error)
            if not is_expected(error):
                log_failure(error, request_id)
            yield sse_frame(found.object())
