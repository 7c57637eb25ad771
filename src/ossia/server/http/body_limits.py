"""Reads whole request bodies within limits of size and time.

Knows neither JSON nor routes.
"""

import asyncio

from starlette.types import Message, Receive

from ossia.server.api.errors import Unavailable, WrongForm


class BodyReader:
    """Reads bodies, with a limit on the total size of those in progress."""

    def __init__(self, *, max_bytes: int, max_total_bytes: int, seconds: float) -> None:
        """Set the limits.

        Args:
            max_bytes: of one body.
            max_total_bytes: of all bodies in progress.
            seconds: for one body, first byte to last.
        """
        self._max_bytes = max_bytes
        self._max_total_bytes = max_total_bytes
        self._seconds = seconds
        self._total_bytes = 0

    async def read(self, receive: Receive, content_length: int | None) -> bytes:
        """Read a whole body.

        Args:
            receive: of ASGI.
            content_length: declared length in bytes; None: unknown.

        Raises:
            HttpError: the body is too large, too slow, or incomplete.
        """
        if content_length is not None and content_length > self._max_bytes:
            raise self._too_large()
        try:
            async with asyncio.timeout(self._seconds):
                return await self._gather(receive)
        except TimeoutError:
            # Not 408: OpenAI's clients would send the same slow body again.
            raise WrongForm(
                400,
                "body_timeout",
                f"the body took longer than {self._seconds:g} s; send it faster, or a smaller one",
            ) from None

    async def _gather(self, receive: Receive) -> bytes:
        body = bytearray()
        try:
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    raise WrongForm(400, "disconnected", "the connection ended within the body")
                piece = message.get("body", b"")
                body += piece
                self._total_bytes += len(piece)
                if len(body) > self._max_bytes:
                    raise self._too_large()
                if self._total_bytes > self._max_total_bytes:
                    raise Unavailable("too many large bodies come in at once; try again soon")
                if not message.get("more_body", False):
                    return bytes(body)
        finally:
            self._total_bytes -= len(body)

    def _too_large(self) -> WrongForm:
        return WrongForm(
            413,
            "body_too_large",
            f"the body is larger than {self._max_bytes} bytes; send a smaller one",
        )


def replay_body(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that yields the whole body in one message, then later messages."""
    is_sent = False

    async def again() -> Message:
        nonlocal is_sent
        if is_sent:
            return await receive()
        is_sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
