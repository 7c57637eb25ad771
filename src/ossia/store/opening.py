"""Opens the database file: private, locked, and of a known schema; refuses any other."""

import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from ossia.errors import StoreError
from ossia.files import PRIVATE_FILE, make_private_folder, sync_folder
from ossia.store.schema import APPLICATION_ID, MIGRATIONS

WAL_BYTES = 16 * 2**20
"""Size to which the write-ahead log shrinks after a large transaction."""

_PRAGMAS = (
    "PRAGMA synchronous = FULL",  # acknowledged is on disk, also when the power goes
    "PRAGMA foreign_keys = ON",
    "PRAGMA secure_delete = ON",  # what was deleted is overwritten
    "PRAGMA temp_store = MEMORY",  # nobody's prompts in a temporary file
    "PRAGMA trusted_schema = OFF",
    f"PRAGMA journal_size_limit = {WAL_BYTES}",
)


def open_connection(
    path: Path | None,
    *,
    busy_seconds: float,
    migrations: Sequence[Sequence[str]] = MIGRATIONS,
) -> sqlite3.Connection:
    """Open or create the file, lock it against other processes and bring its schema up to date.

    Args:
        path: of the file; missing folders are created. None: a store in memory.
        busy_seconds: how long to wait for another process to release the file.
        migrations: see `schema.MIGRATIONS`.

    Returns:
        A connection without implicit transactions, to be used by one thread at a time.

    Raises:
        StoreError: not our file, damaged, newer than this ossia, in use, or not writable.
    """
    where = str(path or ":memory:")
    connection = None
    try:
        if path is not None:
            _make_private(path)
        connection = sqlite3.connect(
            where, timeout=busy_seconds, isolation_level=None, check_same_thread=False
        )
        _recognise(connection, where, len(migrations))
        _configure(connection)
        _migrate(connection, migrations)
    except (OSError, sqlite3.Error) as error:
        if connection is not None:
            connection.close()
        raise StoreError(f"the store {where} {_refusal(error)}") from error
    except StoreError:
        if connection is not None:
            connection.close()
        raise
    return connection


def _make_private(path: Path) -> None:
    """Create missing folders and files, private to their owner.

    A file that is there is never opened here: closing it would drop the locks that SQLite holds on
    it elsewhere in this process (POSIX locks belong to process and file).
    """
    make_private_folder(path.parent)
    if path.exists():
        if not path.is_file():
            raise StoreError(
                f"the store {path} is not a regular file; choose a file, or a new name"
            )
        path.chmod(PRIVATE_FILE)
    else:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        os.close(os.open(path, flags, PRIVATE_FILE))
        sync_folder(path.parent)


def _recognise(connection: sqlite3.Connection, where: str, known: int) -> None:
    """Lock the file, and refuse one of another kind before a byte is changed."""
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")  # the first read takes the lock
    [application] = connection.execute("PRAGMA application_id").fetchone()
    [version] = connection.execute("PRAGMA user_version").fetchone()
    [num_tables] = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application != APPLICATION_ID and (application or version or num_tables):
        raise StoreError(f"the store {where} belongs to another program; choose another file")
    if version > known:
        raise StoreError(
            f"the store {where} has schema {version}, but this ossia knows schemas up to {known}; "
            "update ossia, or choose another file"
        )


def _configure(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # counts before the first table only
    connection.execute("PRAGMA journal_mode = WAL")
    for pragma in _PRAGMAS:
        connection.execute(pragma)


def _migrate(connection: sqlite3.Connection, migrations: Sequence[Sequence[str]]) -> None:
    connection.execute("BEGIN IMMEDIATE")  # also where nothing is missing: shows it is writable
    [version] = connection.execute("PRAGMA user_version").fetchone()
    for statements in migrations[version:]:
        for statement in statements:
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {len(migrations)}")
    connection.execute("COMMIT")


def _refusal(error: OSError | sqlite3.Error) -> str:
    if isinstance(error, OSError):
        return f"cannot be opened: {error.strerror}; make it writable, or choose another file"
    match error.sqlite_errorcode & 0xFF:  # the primary code of an extended one
        case sqlite3.SQLITE_BUSY:
            return "is in use by another process; end that one, or choose another file"
        case sqlite3.SQLITE_NOTADB | sqlite3.SQLITE_CORRUPT:
            return f"is damaged or no store ({error}); move it away, and a new one is made"
        case _:
            return f"cannot be used: {error}; see to its disk, or choose another file"
