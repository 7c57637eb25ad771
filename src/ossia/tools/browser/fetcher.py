"""Fetches web pages for the model, public ones only.

A name is resolved once, all its addresses are checked, and a checked address is connected to;
each redirect starts over. Responses are limited in size and time. Knows no page text.
"""

import asyncio
import ipaddress
import re
import socket
import ssl
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import quote, urljoin

import httpx2  # noqa: TID253 - loaded where a web search is configured, and nowhere else

from ossia.tools.browser.backend import Failure


class HostUnreachable(Failure):
    """An address does not answer; another one of the host may."""


CONNECT_SECONDS = 5.0
USER_AGENT = "ossia"
_WINDOWS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
"""What zlib must expect of a coding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """An HTTP request."""

    url: str
    """The URL; its host is connected to as written here."""
    headers: Mapping[str, str]
    server_name: str | None = None
    """The host name in the certificate; None: the URL's host."""
    content: bytes | None = None
    """The body of a POST; None: GET."""


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """An HTTP response, read within limits."""

    status: int
    headers: Mapping[str, str]
    """By name in lower case."""
    content: bytes
    """Decompressed; empty where it was not wanted."""


Wants = Callable[[int, Mapping[str, str]], bool]
"""Decides by status and headers whether to read the content; may raise Failure."""


def default_tls() -> ssl.SSLContext:
    """The TLS settings, with the certificates that the system trusts."""
    return httpx2.create_ssl_context(trust_env=False)


async def exchange(
    request: HttpRequest, *, tls: ssl.SSLContext, max_bytes: int, seconds: float, wants: Wants
) -> HttpResponse:
    """Send a request and read its answer, without a limit of the total time.

    Args:
        request: what is sent.
        tls: TLS settings.
        max_bytes: of the content, compressed or not.
        seconds: timeout of each read.
        wants: called before the content is read.

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
                return HttpResponse(answer.status_code, headers, content)
            finally:
                await answer.aclose()
    except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
        raise HostUnreachable(f"no connection: {type(error).__name__}") from error
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
        raise Failure(f"no answer could be read: {type(error).__name__}") from error
    except zlib.error:
        raise Failure("the answer is damaged: it cannot be decompressed") from None


async def _received(chunks: AsyncIterator[bytes], coding: str, max_bytes: int) -> bytes:
    """Decode the content; never holds much more than `max_bytes`."""
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


DEFAULT_PORTS = {"http": 80, "https": 443}
MAX_URL_CHARS = 4096
_URL = re.compile(
    r"(https?)://([A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::([0-9]{1,5}))?([/?#].*)?",
    re.IGNORECASE | re.ASCII | re.DOTALL,
)
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")
_UNRESERVED = "/?:@!$&'()*+,;=-._~%[]"
_NOT_PUBLIC = tuple(
    map(
        ipaddress.ip_network,
        (
            "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
            "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16",
            "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",
            "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
        ),
    )
)  # fmt: skip
"""Explicit, since Python versions differ: some treat NAT64, 6to4 and multicast as global."""
_ALLOCATED_IPV6 = ipaddress.ip_network("2000::/3")
"""The IPv6 range that is allocated for the public internet."""


@dataclass(frozen=True, slots=True)
class WebAddress:
    """A parsed URL: what is checked is what is fetched."""

    scheme: str
    host: str
    """A name or an address; without brackets, in lower case."""
    port: int
    target: str
    """Path and query, quoted."""

    @property
    def authority(self) -> str:
        """Host, and port unless it is the default: as in a URL and in `Host`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The canonical URL."""
        return f"{self.scheme}://{self.authority}{self.target}"

    def at(self, address: str) -> str:
        """The URL with an IP address as its host."""
        host = f"[{address}]" if ":" in address else address
        return f"{self.scheme}://{host}:{self.port}{self.target}"


def parse(url: str, ports: frozenset[int]) -> WebAddress:
    """Parse a URL.

    Args:
        url: of http or https, without user or password, its host spelt in ASCII.
        ports: that may be spoken to.

    Raises:
        Failure: it is anything else.
    """
    if len(url) > MAX_URL_CHARS or _UNPRINTABLE.search(url):
        raise Failure("the URL is too long, or holds what no URL may; open another")
    parts = _URL.fullmatch(url)
    if parts is None:
        raise Failure(
            f"{url:.200} cannot be opened; expected http:// or https://, a plain host and a path"
        )
    scheme, host = parts[1].lower(), parts[2].strip("[]").removesuffix(".").lower()
    port = int(parts[3]) if parts[3] else DEFAULT_PORTS[scheme]
    if port not in ports:
        allowed = ", ".join(map(str, sorted(ports)))
        raise Failure(f"port {port} may not be opened; allowed are: {allowed}")
    rest = (parts[4] or "/").partition("#")[0]
    target = quote(rest if rest.startswith("/") else f"/{rest}", _UNRESERVED, errors="replace")
    return WebAddress(scheme, host, port, target)


def is_public(address: str) -> bool:
    """Whether an IP address is public and not reserved."""
    try:
        judged = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(judged, ipaddress.IPv6Address):
        if judged.scope_id is not None:
            return False
        judged = judged.ipv4_mapped or judged
    if judged.version == 6 and judged not in _ALLOCATED_IPV6:
        return False
    special = any(judged in network for network in _NOT_PUBLIC if network.version == judged.version)
    return judged.is_global and not special


_REDIRECTS = frozenset((301, 302, 303, 307, 308))
_TYPES = frozenset(("application/json", "application/xml", "application/xhtml+xml"))
_ACCEPT = "text/html, text/*;q=0.9, application/json, application/xml;q=0.8"
_MAX_TRIED = 3
"""The IP addresses of one host name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebOptions:
    """Limits on fetching web pages."""

    ports: frozenset[int] = frozenset((80, 443))
    max_bytes: int = 5 << 20
    """Size limit after decompression."""
    seconds: float = 20.0
    """Time limit with all redirects."""
    max_redirects: int = 5


@dataclass(frozen=True, slots=True)
class Fetched:
    """The content of a URL."""

    url: str
    """The URL after redirects."""
    media_type: str
    """The media type in lower case, without parameters."""
    charset: str | None
    content: bytes


Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Host and port -> its addresses."""


async def system_resolve(host: str, port: int) -> Sequence[str]:
    """Resolve all addresses of a host; raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(place[0]) for *_, place in found))


class Fetcher:
    """Fetches public web pages; safe to share."""

    def __init__(
        self,
        options: WebOptions | None = None,
        *,
        resolve: Resolve = system_resolve,
        permits: Callable[[str], bool] = is_public,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Set the limits; opens no connection yet.

        Args:
            options: what is allowed.
            resolve: how names become addresses.
            permits: which addresses may be connected to; all of a name's must be.
            tls: TLS settings; None: the system's certificates.
        """
        self._options = options or WebOptions()
        self._resolve = resolve
        self._permits = permits
        self._tls_option = tls

    async def fetch(self, url: str) -> Fetched:
        """Fetch a page.

        Raises:
            Failure: it may not be fetched, or cannot be, or is not text, or takes too long.
        """
        seconds = self._options.seconds
        try:
            async with asyncio.timeout(seconds):
                return await self._follow(url)
        except TimeoutError:
            raise Failure(f"{url:.200} did not answer in {seconds:g} seconds") from None

    async def _follow(self, url: str) -> Fetched:
        for _ in range(self._options.max_redirects + 1):
            address = parse(url, self._options.ports)
            try:
                answer = await self._get(address)
            except Failure as failure:
                raise Failure(f"{address.url:.200}: {failure}") from failure
            if answer.status not in _REDIRECTS:
                media_type, charset = _content_type(answer.headers)
                return Fetched(address.url, media_type, charset, answer.content)
            try:
                url = urljoin(address.url, answer.headers.get("location", ""))
            except ValueError:
                raise Failure(f"{address.url:.200} redirects to what is no URL") from None
        raise Failure(f"{url:.200} redirects more than {self._options.max_redirects} times")

    async def _get(self, address: WebAddress) -> HttpResponse:
        failure = HostUnreachable("the host has no address")
        for place in (await self._places(address))[:_MAX_TRIED]:
            try:
                return await exchange(
                    HttpRequest(
                        url=address.at(place),
                        headers={"Host": address.authority, "Accept": _ACCEPT},
                        server_name=address.host,
                    ),
                    tls=self._tls,
                    max_bytes=self._options.max_bytes,
                    seconds=self._options.seconds,
                    wants=_wants,
                )
            except HostUnreachable as unreached:
                failure = unreached
        raise failure

    async def _places(self, address: WebAddress) -> Sequence[str]:
        """Resolve a host; raises Failure unless all its addresses are permitted."""
        try:
            places = await self._resolve(address.host, address.port)
        except (OSError, UnicodeError):
            raise Failure("this host is not known") from None
        if not places or not all(map(self._permits, places)):
            raise Failure("this host is not on the public net; it may not be opened")
        return places

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return self._tls_option or default_tls()


def _wants(status: int, headers: Mapping[str, str]) -> bool:
    if status in _REDIRECTS:
        return False
    if not 200 <= status < 300:
        raise Failure(f"the host answers {status}; open another page")
    media_type, _ = _content_type(headers)
    is_text = media_type.startswith("text/") or media_type.endswith(("+json", "+xml"))
    if not is_text and media_type not in _TYPES:
        raise Failure(f"this is not text, but {media_type or 'of no stated type'}")
    return True


def _content_type(headers: Mapping[str, str]) -> tuple[str, str | None]:
    kind, *parameters = headers.get("content-type", "").split(";")
    charset = None
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            charset = value.strip().strip("\"'")
    return kind.strip().lower(), charset
