"""Reads the body of a request whole, within bounds of size and time, before anyone looks at it.

It knows neither JSON nor routes.
"""

import asyncio

from starlette.types import Message, Receive

from ossia.server.api.errors import Unavailable, WrongForm


class Bodies:
    """The bodies that are being read now."""

    def __init__(self, *, max_bytes: int, max_total_bytes: int, seconds: float) -> None:
        """Set the bounds.

        Args:
            max_bytes: of one body.
            max_total_bytes: of all that are being read at once.
            seconds: for one body, from its first byte to its last.
        """
        self._max_bytes = max_bytes
        self._max_total_bytes = max_total_bytes
        self._seconds = seconds
        self._total_bytes = 0

    async def read(self, receive: Receive, content_length: int | None) -> bytes:
        """Take a body whole.

        Args:
            receive: gives it in pieces.
            content_length: the bytes it claims to have; None: not said.

        Raises:
            HttpError: it is too large, too slow, or ends before its end.
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


def replayed(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body in one piece, then what comes after it."""
    is_sent = False

    async def again() -> Message:
        nonlocal is_sent
        if is_sent:
            return await receive()
        is_sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
