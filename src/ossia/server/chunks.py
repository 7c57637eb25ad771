"""Chunks of an answer -> server-sent frames, up to [DONE] or to the error that ended them."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from ossia.errors import log_failure
from ossia.server.api.choices import Turns
from ossia.server.api.errors import as_http, is_expected
from ossia.server.api.json_body import Json
from ossia.server.api.sse import DONE, sse_frame


async def framed(
    turns: Turns, chunks: AsyncGenerator[Json, None], request_id: str
) -> AsyncGenerator[bytes, None]:
    """Send what the turns say; when it is closed, at whatever point, the turns are too.

    The first frame is empty. Whoever took it knows that the generator runs: closing one that never
    began would run none of it, and leave the turns going on for nobody.

    Args:
        turns: what runs.
        chunks: what is made of them.
        request_id: for the log, should something fail.
    """
    async with turns:
        yield b""
        try:
            async with aclosing(chunks):
                async for chunk in chunks:
                    yield sse_frame(chunk)
            yield DONE
        except Exception as error:  # too late for a status: the client is told in the stream
            found = as_http(error)
            if not is_expected(error):
                log_failure(error, request_id)
            yield sse_frame(found.object())
