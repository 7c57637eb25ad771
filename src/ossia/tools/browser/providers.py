"""Web search services, a small class each.

A key goes to its own service's host alone: no redirect is followed. Knows no page.
"""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from ssl import SSLContext
from types import MappingProxyType
from typing import Any, Protocol
from urllib.parse import urlencode

from ossia.errors import RequestError
from ossia.tools.browser.backend import Failure, Hit
from ossia.tools.browser.fetcher import HttpRequest, default_tls, exchange

MAX_BYTES = 4 << 20
SECONDS = 20.0
_SUMMARY_CHARS = 500


class SearchProvider(Protocol):
    """A search service."""

    name: str

    async def search(self, query: str, topn: int) -> Sequence[Hit]:
        """Search for at most `topn` hits, best first; raises Failure."""
        ...


class _Service:
    """One request and one response in JSON."""

    name = "the search service"

    def __init__(self, *, tls: SSLContext | None = None) -> None:
        self._tls_option = tls

    @cached_property
    def _tls(self) -> SSLContext:
        return self._tls_option or default_tls()

    async def _ask(self, url: str, key: Mapping[str, str], body: Mapping[str, Any] | None) -> Any:
        headers = {"Accept": "application/json", **key}
        if body is not None:
            headers["Content-Type"] = "application/json"
        content = None if body is None else json.dumps(body).encode()
        request = HttpRequest(url=url, headers=headers, content=content)
        try:
            async with asyncio.timeout(SECONDS):
                answer = await exchange(
                    request, tls=self._tls, max_bytes=MAX_BYTES, seconds=SECONDS, wants=_succeeded
                )
            return json.loads(answer.content)
        except (Failure, TimeoutError) as failure:
            reason = str(failure) or f"no answer in {SECONDS:g} seconds"
            raise Failure(f"{self.name} cannot be asked: {reason}") from failure
        except (ValueError, RecursionError):
            raise Failure(f"{self.name} answers in a way not understood") from None

    def _hits(
        self, found: object, topn: int, summary: Callable[[Mapping[str, Any]], object]
    ) -> list[Hit]:
        """Parse hits from objects with url and title; skips others."""
        if not isinstance(found, list):
            raise Failure(f"{self.name} answers in a way not understood")
        return [
            Hit(url=each["url"], title=_text(each.get("title")), summary=_text(summary(each)))
            for each in found
            if isinstance(each, dict) and isinstance(each.get("url"), str)
        ][:topn]


class You(_Service):
    """You.com.

    Source:
        https://you.com/resources/you-com-web-search-api, September 2026.
    """

    name = "You.com"
    endpoint = "https://ydc-index.io/v1/search"

    def __init__(self, key: str, *, tls: SSLContext | None = None) -> None:
        """Take a key of the service."""
        super().__init__(tls=tls)
        self._key = {"X-API-Key": _checked(key)}

    async def search(self, query: str, topn: int) -> Sequence[Hit]:
        found = await self._ask(self.endpoint, self._key, {"query": query, "count": topn})
        return self._hits(
            _inside(found, "results", "web"),
            topn,
            lambda each: each.get("snippets") or each.get("description"),
        )


class Exa(_Service):
    """Exa.

    Source:
        https://exa.ai/docs/reference/search, 2026.
    """

    name = "Exa"
    endpoint = "https://api.exa.ai/search"

    def __init__(self, key: str, *, tls: SSLContext | None = None) -> None:
        """Take a key of the service."""
        super().__init__(tls=tls)
        self._key = {"x-api-key": _checked(key)}

    async def search(self, query: str, topn: int) -> Sequence[Hit]:
        contents = {"highlights": {"maxCharacters": _SUMMARY_CHARS}}
        body = {"query": query, "numResults": topn, "contents": contents}
        found = await self._ask(self.endpoint, self._key, body)
        return self._hits(_inside(found, "results"), topn, lambda each: each.get("highlights"))


class Tavily(_Service):
    """Tavily.

    Source:
        https://docs.tavily.com/documentation/api-reference/endpoint/search, 2026.
    """

    name = "Tavily"
    endpoint = "https://api.tavily.com/search"

    def __init__(self, key: str, *, tls: SSLContext | None = None) -> None:
        """Take a key of the service."""
        super().__init__(tls=tls)
        self._key = {"Authorization": f"Bearer {_checked(key)}"}

    async def search(self, query: str, topn: int) -> Sequence[Hit]:
        found = await self._ask(self.endpoint, self._key, {"query": query, "max_results": topn})
        return self._hits(_inside(found, "results"), topn, lambda each: each.get("content"))


class SearXNG(_Service):
    """A SearXNG server of the operator's choice, with its JSON format enabled.

    Source:
        https://docs.searxng.org/dev/search_api.html
    """

    name = "SearXNG"

    def __init__(self, url: str, *, tls: SSLContext | None = None) -> None:
        """Take the address of the server, such as http://localhost:8080."""
        super().__init__(tls=tls)
        if not url.startswith(("http://", "https://")):
            raise RequestError(
                f"{url:.200} is not an address of SearXNG; expected http://HOST:PORT"
            )
        self._url = url.rstrip("/").removesuffix("/search")

    async def search(self, query: str, topn: int) -> Sequence[Hit]:
        query_string = urlencode({"q": query, "format": "json"}, errors="replace")
        found = await self._ask(f"{self._url}/search?{query_string}", {}, None)
        return self._hits(_inside(found, "results"), topn, lambda each: each.get("content"))


SERVICES: Mapping[str, Callable[[str], SearchProvider]] = MappingProxyType(
    {"YDC_API_KEY": You, "EXA_API_KEY": Exa, "TAVILY_API_KEY": Tavily, "SEARXNG_URL": SearXNG}
)
"""The service of each setting; the first one that is set is used."""


def configured(environ: Mapping[str, str]) -> SearchProvider | None:
    """The service whose key or address is in the environment; None if there is none.

    Raises:
        RequestError: what stands there can be no key, or no address.
    """
    for variable, service in SERVICES.items():
        if value := environ.get(variable, "").strip():
            try:
                return service(value)
            except RequestError as error:
                raise RequestError(f"{variable}: {error}") from error
    return None


def _checked(key: str) -> str:
    key = key.strip()
    if not key or not key.isascii() or not key.isprintable():
        raise RequestError("the key of the search service is empty or no key; copy it again")
    return key


def _succeeded(status: int, headers: Mapping[str, str]) -> bool:
    if status == 200:
        return True
    if status in (401, 403):
        raise Failure(f"it refuses the key (status {status}); the operator must see to it")
    raise Failure(f"it answers {status}")


def _inside(found: Any, *names: str) -> Any:
    for name in names:
        found = found.get(name) if isinstance(found, dict) else None
    return found


def _text(value: object) -> str:
    """A text, or several as one."""
    if isinstance(value, list):
        return " ... ".join(each for each in value if isinstance(each, str))
    return value if isinstance(value, str) else ""
