"""The local corpus: searches and opens what `ossia index` has put into one file.

Only reads that file; no path the model writes touches the disk. Knows no folder.
"""

import asyncio
import json
import sqlite3
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from ossia.tools.browser.backend import Failure, Hit
from ossia.tools.browser.cleaning import cleaned
from ossia.tools.browser.corpus_file import open_to_read
from ossia.tools.browser.page import Page

SCHEME = "corpus"
MAX_WORDS = 32
SNIPPET_TOKENS = 40
SECONDS = 5.0
"""Of one question to the file."""
_STEPS = 10_000
"""Of SQLite's machine between two looks at the clock."""


def corpus_url(name: str, path: str) -> str:
    """What an indexed file is called."""
    return f"{SCHEME}://{name}/{quote(path)}"


def match_expression(query: str) -> str:
    """Plain words as a full-text expression: any of them, none an operator; "" without words."""
    words = dict.fromkeys(cleaned(query).casefold().split())
    quoted = [word.replace('"', '""') for word in words if any(map(str.isalnum, word))]
    return " OR ".join(f'"{word}"' for word in quoted[:MAX_WORDS])


class Corpus:
    """A backend; safe to share between threads and conversations."""

    reaches_out = False

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Take over a connection from `open_to_read`."""
        self._connection = connection
        self._asking = threading.Lock()
        self._ends = 0.0
        connection.set_progress_handler(lambda: time.monotonic() > self._ends, _STEPS)

    @classmethod
    def open(cls, path: Path) -> "Corpus":
        """Open an index to read; raises StoreError if there is none that can be read."""
        return cls(open_to_read(path))

    def close(self) -> None:
        """Let go of the file."""
        with self._asking:
            self._connection.close()

    @property
    def reads_private(self) -> bool:
        """Whether any indexed folder is marked as private, or nobody can tell."""
        try:
            [[private]] = self._ask("SELECT count(*) FROM corpora WHERE private", ())
        except Failure:
            return True
        return bool(private)

    def serves(self, url: str) -> bool:
        """See `Backend`."""
        return url.partition("://")[0].lower() == SCHEME

    async def search(self, query: str, topn: int) -> Sequence[Hit]:
        """See `Backend`: pages with any of the words, by bm25 with titles weighing four times."""
        return await asyncio.to_thread(self._search, query, topn)

    async def fetch(self, url: str) -> Page:
        """See `Backend`."""
        return await asyncio.to_thread(self._fetch, url)

    def _search(self, query: str, topn: int) -> list[Hit]:
        expression = match_expression(query)
        if not expression:
            return []
        best = self._ask(
            "SELECT rowid FROM pages WHERE pages MATCH ? ORDER BY rank LIMIT ?", (expression, topn)
        )
        return [self._hit(expression, number) for [number] in best]

    def _hit(self, expression: str, number: int) -> Hit:
        """Snippets cost more than ranks: made for the best only."""
        rows = self._ask(
            "SELECT corpus, path, files.title,"
            f" snippet(pages, 1, '', '', '...', {SNIPPET_TOKENS})"
            " FROM pages JOIN files ON files.number = pages.rowid"
            " WHERE pages MATCH ? AND pages.rowid = ?",
            (expression, number),
        )
        if not rows:
            raise Failure("the index was just renewed; search again")
        [[corpus, path, title, summary]] = rows
        return Hit(url=corpus_url(corpus, path), title=title, summary=summary)

    def _fetch(self, url: str) -> Page:
        name, path = _place(url)
        rows = self._ask(
            "SELECT corpus, path, title, marked, links FROM files WHERE corpus = ? AND path = ?",
            (name, path),
        )
        if not rows:
            raise Failure(f"{url:.300} is not in the corpus; open what a search has listed")
        [[corpus, path, title, marked, links]] = rows
        return Page.of_text(corpus_url(corpus, path), title, marked, json.loads(links))

    def _ask(self, statement: str, values: tuple[object, ...]) -> list[Any]:
        with self._asking:
            self._ends = time.monotonic() + SECONDS
            try:
                return self._connection.execute(statement, values).fetchall()
            except sqlite3.Error as error:
                raise Failure(f"the corpus cannot be read now: {error}") from error


def _place(url: str) -> tuple[str, str]:
    """Corpus and path that a URL names, whether or not its path is quoted."""
    try:
        parts = urlsplit(url)
        name, path = parts.netloc, url.split("://", 1)[1].partition("/")[2]
        path = unquote(path, errors="strict")
        path.encode()
        name.encode()
    except (ValueError, IndexError):
        raise Failure(f"{url!r:.300} is no address in the corpus") from None
    return name, path
