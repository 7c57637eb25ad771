"""One request and its answer over HTTP, with a bound on every byte of it.

The only file of the browser that knows httpx2; follows no redirect, keeps no cookie, and nothing
of the environment changes where it connects.
"""

import ssl
import zlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass

import httpx2  # noqa: TID253 - loaded where a web search is configured, and nowhere else

from ossia.tools.browser.backend import Failure


class Unreached(Failure):
    """Nobody answers there: another address of the same host may do."""


CONNECT_SECONDS = 5.0
USER_AGENT = "ossia"

_WINDOWS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
"""What zlib must expect of a coding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is sent."""

    url: str
    """Where to; its host is connected to as it stands here."""
    headers: Mapping[str, str]
    server_name: str | None = None
    """The name a certificate must hold; None: the URL's host."""
    content: bytes | None = None
    """Sent as POST; None: GET."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    """By name in lower case."""
    content: bytes
    """Decompressed; empty where it was not wanted."""


Wants = Callable[[int, Mapping[str, str]], bool]
"""Whether the content is wanted, by status and headers; may raise Failure."""


def default_tls() -> ssl.SSLContext:
    """Certificates as the system trusts them."""
    return httpx2.create_ssl_context(trust_env=False)


async def exchange(
    request: Request, *, tls: ssl.SSLContext, max_bytes: int, seconds: float, wants: Wants
) -> Answer:
    """Send a request and read its answer; sets no limit to the time of it all.

    Args:
        request: what is sent.
        tls: whom to trust.
        max_bytes: of the content, compressed or not.
        seconds: between two signs of life.
        wants: asked before the content is read.

    Raises:
        Unreached: no connection.
        Failure: a broken answer, or one that is too large, or what `wants` raises.
    """
    transport = httpx2.AsyncHTTPTransport(verify=tls, trust_env=False, retries=0)
    try:
        async with httpx2.AsyncClient(transport=transport, trust_env=False) as client:
            extensions = {"sni_hostname": request.server_name} if request.server_name else {}
            sent = client.build_request(
                "GET" if request.content is None else "POST",
                request.url,
                headers={
                    "User-Agent": USER_AGENT,
                    "Accept-Encoding": "gzip, deflate",
                    "Connection": "close",
                    **request.headers,
                },
                content=request.content,
                timeout=httpx2.Timeout(seconds, connect=CONNECT_SECONDS),
                extensions=extensions,
            )
            answer = await client.send(sent, stream=True, follow_redirects=False)
            try:
                headers = {name.lower(): value for name, value in answer.headers.items()}
                content = b""
                if wants(answer.status_code, headers):
                    coding = headers.get("content-encoding", "")
                    content = await _received(answer.aiter_raw(), coding, max_bytes)
                return Answer(answer.status_code, headers, content)
            finally:
                await answer.aclose()
    except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
        raise Unreached(f"no connection: {type(error).__name__}") from error
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
        raise Failure(f"no answer could be read: {type(error).__name__}") from error
    except zlib.error:
        raise Failure("the answer is damaged: it cannot be decompressed") from None


async def _received(chunks: AsyncIterator[bytes], coding: str, max_bytes: int) -> bytes:
    """The content; never holds much more than it may have."""
    decoder = _decoder(coding.strip().lower())
    content = bytearray()
    num_raw = 0
    async for chunk in chunks:
        num_raw += len(chunk)
        if decoder is None:
            content += chunk
        else:
            content += decoder.decompress(chunk, max_bytes + 1 - len(content))
        if num_raw > max_bytes or len(content) > max_bytes:
            raise Failure(f"the answer has more than {max_bytes} bytes, too many to read")
        if decoder is not None and decoder.eof:
            break  # what may follow is no part of it
    return bytes(content)


def _decoder(coding: str) -> "zlib._Decompress | None":
    if coding in ("", "identity"):
        return None
    if coding not in _WINDOWS:
        raise Failure(f"the answer is compressed in a way not asked for: {coding:.40}")
    return zlib.decompressobj(_WINDOWS[coding])
