"""Fetches web pages that a model asks for, and nothing but public ones.

A name is resolved once, every address it has is judged, and the judged address is connected to;
each redirect begins anew. Knows no page text.
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import urljoin

from ossia.tools.browser.addresses import WebAddress, is_public, parse
from ossia.tools.browser.backend import Failure
from ossia.tools.browser.exchange import Answer, Request, Unreached, default_tls, exchange

_REDIRECTS = frozenset((301, 302, 303, 307, 308))
_TYPES = frozenset(("application/json", "application/xml", "application/xhtml+xml"))
_ACCEPT = "text/html, text/*;q=0.9, application/json, application/xml;q=0.8"
_MAX_TRIED = 3
"""Addresses of one name, one after the other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebOptions:
    """What the operator allows web pages."""

    ports: frozenset[int] = frozenset((80, 443))
    max_bytes: int = 5 << 20
    """After decompression."""
    seconds: float = 20.0
    """In all, with every redirect."""
    max_redirects: int = 5


@dataclass(frozen=True, slots=True)
class Fetched:
    """What stood at a URL."""

    url: str
    """After redirects."""
    media_type: str
    """In lower case, without parameters."""
    charset: str | None
    content: bytes


Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Host and port -> its addresses."""


async def system_resolve(host: str, port: int) -> Sequence[str]:
    """Ask the system for all addresses of a host; raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(place[0]) for *_, place in found))


class Fetcher:
    """Fetches; safe to share."""

    def __init__(
        self,
        options: WebOptions | None = None,
        *,
        resolve: Resolve = system_resolve,
        permits: Callable[[str], bool] = is_public,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Set the limits; nothing is connected to yet.

        Args:
            options: what is allowed.
            resolve: how names become addresses.
            permits: which addresses may be connected to; all of a name's must be.
            tls: whom to trust; None: whom the system trusts.
        """
        self._options = options or WebOptions()
        self._resolve = resolve
        self._permits = permits
        self._given_tls = tls

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

    async def _get(self, address: WebAddress) -> Answer:
        failure = Unreached("the host has no address")
        for place in (await self._places(address))[:_MAX_TRIED]:
            try:
                return await exchange(
                    Request(
                        url=address.at(place),
                        headers={"Host": address.authority, "Accept": _ACCEPT},
                        server_name=address.host,
                    ),
                    tls=self._tls,
                    max_bytes=self._options.max_bytes,
                    seconds=self._options.seconds,
                    wants=_wants,
                )
            except Unreached as unreached:
                failure = unreached
        raise failure

    async def _places(self, address: WebAddress) -> Sequence[str]:
        """All addresses of a host, if all of them are permitted."""
        try:
            places = await self._resolve(address.host, address.port)
        except (OSError, UnicodeError):
            raise Failure("this host is not known") from None
        if not places or not all(map(self._permits, places)):
            raise Failure("this host is not on the public net; it may not be opened")
        return places

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return self._given_tls or default_tls()


def _wants(status: int, headers: Mapping[str, str]) -> bool:
    if status in _REDIRECTS:
        return False
    if not 200 <= status < 300:
        raise Failure(f"the host answers {status}; open another page")
    media_type, _ = _content_type(headers)
    is_text = media_type.startswith("text/") or media_type.endswith(("+json", "+xml"))
    if not is_text and media_type not in _TYPES:
        raise Failure(f"this is no text, but {media_type or 'of no stated type'}")
    return True


def _content_type(headers: Mapping[str, str]) -> tuple[str, str | None]:
    kind, *parameters = headers.get("content-type", "").split(";")
    charset = None
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            charset = value.strip().strip("\"'")
    return kind.strip().lower(), charset
