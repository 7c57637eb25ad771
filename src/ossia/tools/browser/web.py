"""The web as a backend: a search service, a fetcher, and a process for each page."""

import asyncio
import re
import threading
from collections.abc import Sequence
from urllib.parse import unquote

from ossia.tools.browser.backend import Failure, Hit
from ossia.tools.browser.documents import Kind, read_apart
from ossia.tools.browser.fetcher import Fetched, Fetcher
from ossia.tools.browser.page import PageContents
from ossia.tools.browser.providers import SearchProvider

MAX_READERS = 2
"""Pages that are read concurrently, each in its own process."""

_ARXIV = re.compile(r"(https?://)(?:www\.)?arxiv\.org(?=/)", re.IGNORECASE)


class Web:
    """The open web as a backend; safe to share between conversations."""

    reads_private = False
    reaches_out = True

    def __init__(self, provider: SearchProvider, fetcher: Fetcher) -> None:
        """Search with a service, fetch with a fetcher."""
        self._provider = provider
        self._fetcher = fetcher
        self._readers = threading.BoundedSemaphore(MAX_READERS)

    def serves(self, url: str) -> bool:
        return url.partition("://")[0].lower() in ("http", "https")

    async def search(self, query: str, topn: int) -> Sequence[Hit]:
        return await self._provider.search(query, topn)

    async def fetch(self, url: str) -> PageContents:
        """Fetch a page; papers of arxiv.org are read at ar5iv.org, which has them as HTML."""
        if not self.serves(url):
            raise Failure(f"{url:.200} is not a web address; expected http:// or https://")
        fetched = await self._fetcher.fetch(_ARXIV.sub(r"\1ar5iv.org", url, count=1))
        return await asyncio.to_thread(self._read, fetched)

    def _read(self, fetched: Fetched) -> PageContents:
        with self._readers:
            read = read_apart(fetched.content, _kind(fetched), fetched.url, fetched.charset)
        title = read.title if read.title.strip() else _title(fetched.url)
        return PageContents.of_text(fetched.url, title, read.text, read.links)


def _kind(fetched: Fetched) -> Kind:
    match fetched.media_type:
        case "text/html" | "application/xhtml+xml":
            return "html"
        case "text/markdown":
            return "markdown"
        case _:
            return "text"


def _title(url: str) -> str:
    """The last part of an address: a name where a page has none."""
    rest = url.partition("://")[2].partition("?")[0].rstrip("/")
    return unquote(rest.rpartition("/")[2])
