"""The file of the local corpus: its tables, and how it is opened; knows no document."""

import sqlite3
from pathlib import Path

from ossia.errors import StoreError

APPLICATION_ID = 0x6F737363
"""Stands in the header of a file that is ours: "ossc"."""
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
    """What SQLite says, in a line."""
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
                f"{path} is no index of this ossia; move it away and run: ossia index FOLDER"
            )
    except sqlite3.Error as error:
        connection.close()
        raise refusal(path, error) from error
    except StoreError:
        connection.close()
        raise
    return connection
