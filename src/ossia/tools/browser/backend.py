"""The protocol of page backends: the local corpus and the web.

Knows no tool and no view.
"""

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Protocol

from ossia.tools.browser.page import PageContents


class Failure(Exception):
    """A call failed; the message is one line that the model can act on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One raw result of a search, not cleaned yet."""

    url: str
    title: str
    summary: str


class Backend(Protocol):
    """Finds and fetches pages; shared by all conversations."""

    @property
    def reads_private(self) -> bool:
        """Whether its pages are private to the operator."""
        ...

    @property
    def reaches_out(self) -> bool:
        """Whether searches and fetches leave this computer."""
        ...

    def serves(self, url: str) -> bool:
        """Whether `fetch` supports this URL."""
        ...

    async def search(self, query: str, topn: int) -> Sequence[Hit]:
        """Search for at most `topn` pages, best first; raises Failure."""
        ...

    async def fetch(self, url: str) -> PageContents:
        """Fetch the page at a URL; raises Failure."""
        ...


class Combined:
    """Several backends as one."""

    def __init__(self, backends: Sequence[Backend]) -> None:
        """Combine at least one backend, the most important first."""
        self._backends = tuple(backends)

    @property
    def reads_private(self) -> bool:
        return any(backend.reads_private for backend in self._backends)

    @property
    def reaches_out(self) -> bool:
        return any(backend.reaches_out for backend in self._backends)

    def serves(self, url: str) -> bool:
        return any(backend.serves(url) for backend in self._backends)

    async def search(self, query: str, topn: int) -> Sequence[Hit]:
        """Interleave the best hits of each; fails only if all fail."""
        searches = (backend.search(query, topn) for backend in self._backends)
        found = await asyncio.gather(*map(_settled, searches))
        failures = [each for each in found if isinstance(each, Failure)]
        if len(failures) == len(found):
            raise failures[0]
        lists = [each for each in found if not isinstance(each, Failure)]
        rows = range(max(map(len, lists)))
        mixed = [each[row] for row in rows for each in lists if row < len(each)]
        return mixed[:topn]

    async def fetch(self, url: str) -> PageContents:
        """Fetch from the first backend that serves such URLs."""
        for backend in self._backends:
            if backend.serves(url):
                return await backend.fetch(url)
        raise Failure(f"no page can be opened at {url:.200}")


async def _settled(search: Awaitable[Sequence[Hit]]) -> Sequence[Hit] | Failure:
    try:
        return await search
    except Failure as failure:
        return failure
