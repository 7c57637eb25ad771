"""An MCP server over Streamable HTTP: one address, no proxy, no cookie, no foreign redirect.

Knows requests and bounds; what is said is the protocol library's business.
"""

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx2  # noqa: TID253 - loaded where MCP servers are configured, and nowhere else
from mcp.client.streamable_http import streamable_http_client  # noqa: TID253 - the same

from ossia.tools.mcp.stdio import MAX_MESSAGE_BYTES

_SECONDS = 30.0
_QUIET_SECONDS = 300.0
"""How long an open stream may say nothing."""


@contextlib.asynccontextmanager
async def http_transport(url: str, *, headers: Mapping[str, str]) -> AsyncIterator[Any]:
    """Speak to a server.

    Args:
        url: the only address that is spoken to; redirects are followed within its origin alone.
        headers: sent with every request.

    Yields:
        The two streams that `mcp.Client` wants.
    """
    async with (
        httpx2.AsyncClient(
            headers={"accept-encoding": "identity", **headers},
            timeout=httpx2.Timeout(_SECONDS, read=_QUIET_SECONDS),
            transport=_Bounded(trust_env=False),
            trust_env=False,
            follow_redirects=False,
        ) as client,
        streamable_http_client(
            url, http_client=client, max_sse_event_size=MAX_MESSAGE_BYTES
        ) as streams,
    ):
        yield streams


class _Bounded(httpx2.AsyncHTTPTransport):
    """Answers of a bounded size that are what they seem: nothing is unpacked."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await super().handle_async_request(request)
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            await response.aclose()
            raise httpx2.UnsupportedProtocol(
                "the server sent a packed answer that was not asked for"
            )
        response.headers.pop("set-cookie", None)
        is_stream = response.headers.get("content-type", "").startswith("text/event-stream")
        if not is_stream:  # the events of a stream are bounded one by one
            assert isinstance(response.stream, httpx2.AsyncByteStream)
            response.stream = _Counted(response.stream)
        return response


class _Counted(httpx2.AsyncByteStream):
    """A body that ends in an error when it is too long."""

    def __init__(self, body: httpx2.AsyncByteStream) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        num_bytes = 0
        async for chunk in self._body:
            num_bytes += len(chunk)
            if num_bytes > MAX_MESSAGE_BYTES:
                raise httpx2.StreamError(f"the answer has more than {MAX_MESSAGE_BYTES} bytes")
            yield chunk

    async def aclose(self) -> None:
        await self._body.aclose()
