"""The local corpus: one SQLite file, which `ossia index` fills, searched and opened by the browser.

The browser only reads that file; no path the model writes touches the disk. Knows no folder.
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

from ossia.errors import StoreError
from ossia.tools.browser.backend import Failure, Hit
from ossia.tools.browser.page import PageContents
from ossia.tools.browser.text import clean_text

SCHEME = "corpus"
MAX_WORDS = 32
SNIPPET_TOKENS = 40
SECONDS = 5.0
"""Time limit of one query."""
_STEPS = 10_000
"""SQLite instructions between two checks of the time."""


def corpus_url(name: str, path: str) -> str:
    """The URL of an indexed file."""
    return f"{SCHEME}://{name}/{quote(path)}"


def match_expression(query: str) -> str:
    """Build a full-text query for any of the words, none an operator; "" without words."""
    words = dict.fromkeys(clean_text(query).casefold().split())
    quoted = [word.replace('"', '""') for word in words if any(map(str.isalnum, word))]
    return " OR ".join(f'"{word}"' for word in quoted[:MAX_WORDS])


class Corpus:
    """The local corpus as a backend; safe to share between threads and conversations."""

    reaches_out = False

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Take over a connection from `open_to_read`."""
        self._connection = connection
        self._asking = threading.Lock()
        self._ends = 0.0
        connection.set_progress_handler(lambda: time.monotonic() > self._ends, _STEPS)

    @classmethod
    def open(cls, path: Path) -> "Corpus":
        """Open an index for reading; raises StoreError if it is missing or unreadable."""
        return cls(open_to_read(path))

    def close(self) -> None:
        """Close the file."""
        with self._asking:
            self._connection.close()

    @property
    def reads_private(self) -> bool:
        """Whether any indexed folder is private; also True if that cannot be read."""
        try:
            [[private]] = self._ask("SELECT count(*) FROM corpora WHERE private", ())
        except Failure:
            return True
        return bool(private)

    def serves(self, url: str) -> bool:
        return url.partition("://")[0].lower() == SCHEME

    async def search(self, query: str, topn: int) -> Sequence[Hit]:
        """Search for any of the words, ranked by BM25 with titles weighing four times."""
        return await asyncio.to_thread(self._search, query, topn)

    async def fetch(self, url: str) -> PageContents:
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
        """Make a hit; its snippet costs more than its rank, so only the best are made."""
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

    def _fetch(self, url: str) -> PageContents:
        name, path = _place(url)
        rows = self._ask(
            "SELECT corpus, path, title, marked, links FROM files WHERE corpus = ? AND path = ?",
            (name, path),
        )
        if not rows:
            raise Failure(f"{url:.300} is not in the corpus; open what a search has listed")
        [[corpus, path, title, marked, links]] = rows
        return PageContents.of_text(corpus_url(corpus, path), title, marked, json.loads(links))

    def _ask(self, statement: str, values: tuple[object, ...]) -> list[Any]:
        with self._asking:
            self._ends = time.monotonic() + SECONDS
            try:
                return self._connection.execute(statement, values).fetchall()
            except sqlite3.Error as error:
                raise Failure(f"the corpus cannot be read now: {error}") from error


def _place(url: str) -> tuple[str, str]:
    """Split a URL into corpus and path, whether or not the path is quoted."""
    try:
        parts = urlsplit(url)
        name, path = parts.netloc, url.split("://", 1)[1].partition("/")[2]
        path = unquote(path, errors="strict")
        path.encode()
        name.encode()
    except (ValueError, IndexError):
        raise Failure(f"{url!r:.300} is not an address in the corpus") from None
    return name, path


APPLICATION_ID = 0x6F737363
"""SQLite's application id of our files: "ossc"."""
SCHEMA = 1
BUSY_SECONDS = 5.0

_TABLES = (
    """
    CREATE TABLE corpora (
        name TEXT PRIMARY KEY,
        folder TEXT NOT NULL,
        private INTEGER NOT NULL
    ) STRICT
    """,
    """
    CREATE TABLE files (
        number INTEGER PRIMARY KEY,
        corpus TEXT NOT NULL REFERENCES corpora (name),
        path TEXT NOT NULL,
        size INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL,
        title TEXT NOT NULL,
        marked TEXT NOT NULL,
        links TEXT NOT NULL,
        UNIQUE (corpus, path)
    ) STRICT
    """,
    # Text without link marks, for the words in it only: what is shown stands in files.marked.
    """
    CREATE VIRTUAL TABLE pages USING fts5 (
        title, body, tokenize = 'unicode61 remove_diacritics 2'
    )
    """,
    "INSERT INTO pages (pages, rank) VALUES ('rank', 'bm25(4.0, 1.0)')",
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {SCHEMA}",
)
_PRAGMAS = ("PRAGMA foreign_keys = ON", "PRAGMA trusted_schema = OFF")


def open_to_read(path: Path) -> sqlite3.Connection:
    """Open an index that is there.

    Returns:
        A connection that cannot write; for any thread, but for one at a time.

    Raises:
        StoreError: there is none, or it is not ours, or damaged.
    """
    if not path.is_file():
        raise StoreError(f"there is no index at {path}; make one with: ossia index FOLDER")
    connection = _connect(f"{path.absolute().as_uri()}?mode=ro", path)
    connection.execute("PRAGMA query_only = ON")
    return _recognised(connection, path)


def open_to_write(path: Path) -> sqlite3.Connection:
    """Open an index, or begin one in an empty file; as in `open_to_read`, but it can write."""
    connection = _connect(path.absolute().as_uri(), path)
    try:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # counts before the first table only
        connection.execute("PRAGMA journal_mode = WAL")  # readers go on while it is refreshed
        [num_tables] = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if num_tables == 0:
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                for statement in _TABLES:
                    connection.execute(statement)
    except sqlite3.Error as error:
        connection.close()
        raise refusal(path, error) from error
    return _recognised(connection, path)


def refusal(path: Path, error: sqlite3.Error) -> StoreError:
    """The error for what SQLite reports."""
    return StoreError(
        f"the index {path} cannot be used: {error}; move it away and run: ossia index FOLDER"
    )


def _connect(uri: str, path: Path) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(
            uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            for pragma in _PRAGMAS:
                connection.execute(pragma)
            if not connection.execute(
                "SELECT 1 FROM pragma_module_list WHERE name = 'fts5'"
            ).fetchone():
                raise StoreError(
                    f"SQLite {sqlite3.sqlite_version} here lacks full-text search (FTS5); "
                    "use a Python whose SQLite has it"
                )
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error as error:
        raise refusal(path, error) from error
    return connection


def _recognised(connection: sqlite3.Connection, path: Path) -> sqlite3.Connection:
    try:
        [application] = connection.execute("PRAGMA application_id").fetchone()
        [version] = connection.execute("PRAGMA user_version").fetchone()
        if (application, version) != (APPLICATION_ID, SCHEMA):
            raise StoreError(
                f"{path} is not an index of this ossia; move it away and run: ossia index FOLDER"
            )
    except sqlite3.Error as error:
        connection.close()
        raise refusal(path, error) from error
    except StoreError:
        connection.close()
        raise
    return connection
