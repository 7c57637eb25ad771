"""The views of one conversation, by number: what a citation means, where a pattern is found.

Knows no call and no backend.
"""

from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import quote

from ossia.tools.browser.backend import Failure
from ossia.tools.browser.page import MAX_TITLE_CHARS, PageContents, plain_lines
from ossia.tools.browser.text import one_line

MAX_CHARS = 16_000_000
"""Size limit of a conversation's cached pages."""
MAX_VIEWS = 10_000


class Cited(NamedTuple):
    """The target of a citation."""

    url: str
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A part of a page, displayed under one cursor."""

    page: PageContents
    source: Cited | None
    """The page it shows, or that was searched; None with the results of a search."""
    hits: tuple[Cited, ...] = ()
    """The results of a search, by number of link."""
    hit_lines: tuple[int, ...] = ()
    """Of a search: the line on which each result begins. Of a find: its line on the page."""
    found_in: PageContents | None = None
    """With results of a find: the page."""


class Views:
    """A growing list of views; evicts old pages beyond the size limit."""

    def __init__(self) -> None:
        self._views: list[View] = []
        self._num_forgotten = 0

    def __len__(self) -> int:
        return len(self._views)

    def push(self, view: View) -> None:
        """Add a view under the next cursor."""
        self._views.append(view)
        self._shrink()

    def view(self, cursor: int | None) -> View:
        """The view of that number, or the last; raises Failure."""
        if not self._views:
            raise Failure("no page is open yet; search, or open a URL")
        at = len(self._views) - 1 if cursor is None else cursor
        if at >= len(self._views):
            raise Failure(f"cursor {at} is not a view; the last one is {len(self._views) - 1}")
        if at < self._num_forgotten:
            raise Failure(f"the page of cursor {at} is no longer kept; open it by its URL")
        return self._views[at]

    def page_at(self, url: str) -> PageContents | None:
        """The cached page of a URL, as last displayed."""
        for view in reversed(self._views[self._num_forgotten :]):
            page = view.found_in or view.page
            if page.url == url:
                return page
        return None

    def resolve(self, cursor: int, line: int | None = None) -> Cited | None:
        """The target of a citation; for a search, the result on that line."""
        if not 0 <= cursor < len(self._views):
            return None
        view = self._views[cursor]
        if view.source is not None or line is None:
            return view.source
        before = [number for number, at in enumerate(view.hit_lines) if at <= line]
        return view.hits[before[-1]] if before else None

    def quoted(self, cursor: int, first: int, last: int) -> tuple[str, ...]:
        """The cited lines, both ends included; empty if there are none."""
        if not 0 <= cursor < len(self._views):
            return ()
        return self._views[cursor].page.lines[max(first, 0) : last + 1]

    def clear(self) -> None:
        """Delete all views."""
        self._views.clear()
        self._num_forgotten = 0

    def _shrink(self) -> None:
        """Evict the oldest pages; a page with several views counts once."""
        total, seen = 0, set[int]()
        for at in range(len(self._views) - 1, self._num_forgotten - 1, -1):
            for page in filter(None, (self._views[at].page, self._views[at].found_in)):
                if id(page) not in seen:
                    seen.add(id(page))
                    total += page.num_chars
            if (total > MAX_CHARS and at < len(self._views) - 1) or len(
                self._views
            ) - at > MAX_VIEWS:
                self._forget(at)
                return

    def _forget(self, last: int) -> None:
        for at in range(self._num_forgotten, last + 1):
            view = self._views[at]
            empty = PageContents(url=view.page.url, title=view.page.title, lines=(), num_chars=0)
            self._views[at] = View(
                page=empty, source=view.source, hits=view.hits, hit_lines=view.hit_lines
            )
        self._num_forgotten = last + 1


MAX_HITS = 50
SHOWN_LINES = 4


class Found(NamedTuple):
    """The matches of a pattern, as a page."""

    page: PageContents
    places: tuple[int, ...]
    """The line on the searched page of each hit."""


def find_in(page: PageContents, pattern: str) -> Found:
    """Search the lines of a page for a text, ignoring case and link marks.

    Each hit is shown with the lines that follow; the search goes on behind those.
    """
    lines = plain_lines(page)
    wanted = pattern.lower()
    places: list[int] = []
    at = 0
    while at < len(lines) and len(places) < MAX_HITS:
        if wanted in lines[at].lower():
            places.append(at)
            at += SHOWN_LINES
        else:
            at += 1
    parts = [
        "\n".join((f"# 【{number}†match at L{place}】", *lines[place : place + SHOWN_LINES]))
        for number, place in enumerate(places)
    ]
    shown = one_line(pattern, MAX_TITLE_CHARS // 2)
    view = PageContents.of_text(
        f"{page.url}/find?pattern={quote(pattern, safe='', errors='replace')}",
        f"Find results for text: `{shown}` in `{page.title}`",
        "\n\n".join(parts) or f"No `find` results for pattern: `{shown}`",
        [page.url] * len(places),
    )
    return Found(view, tuple(places))
