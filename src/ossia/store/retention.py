"""Retention: deletes expired rows, and the oldest beyond the size limit, in small steps."""

import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass

MAX_REMOVED = 512
"""Rows that one transaction may delete; a response's events and tokens go with its row."""
MAX_FREED_BYTES = 32 * 2**20
"""After so much one transaction removes no further row. Both are more than one commit may bring
(`database.MAX_GROUP_JOBS`, `MAX_GROUP_BYTES`), so that a busy store does not outgrow its bound."""
SLACK_PAGES, MAX_RETURNED_PAGES = 1024, 1024
"""Free pages that the file keeps for what comes next, and how many are given back at a time."""

_OLDEST = """
SELECT * FROM (
    SELECT created_at, number, 1 AS is_response FROM responses
    WHERE status NOT IN ('queued', 'in_progress') ORDER BY created_at, number LIMIT :most
) UNION ALL SELECT * FROM (
    SELECT created_at, number, 0 FROM token_memory
    WHERE response IS NULL ORDER BY created_at, number LIMIT :most
) ORDER BY 1, 2 LIMIT :most
"""
_REMOVE = (
    "DELETE FROM token_memory WHERE number = ?",
    "DELETE FROM responses WHERE number = ?",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """Limits of age and size; running responses are never deleted."""

    max_age_seconds: float = 30 * 86400.0
    max_bytes: int = 2**30
    """Limit of the file's used pages, all tables and indexes together."""
    clock: Callable[[], float] = time.time
    """Seconds since 1970, as in `created_at`."""

    def horizon(self) -> float:
        """The time before which rows are expired, whether deleted yet or not."""
        return self.clock() - self.max_age_seconds


def remove_oldest(connection: sqlite3.Connection, retention: Retention) -> bool:
    """Delete a few rows within the open transaction; returns whether there may be more."""
    horizon = retention.horizon()
    before = used_bytes(connection)

    def must_go(created_at: float) -> bool:
        return created_at < horizon or used_bytes(connection) > retention.max_bytes

    if not any(must_go(created_at) for created_at, _, _ in _oldest(connection, 1)):
        return False
    for created_at, number, is_response in _oldest(connection, MAX_REMOVED):
        if not must_go(created_at):
            return False
        if before - used_bytes(connection) >= MAX_FREED_BYTES:
            return True
        connection.execute(_REMOVE[is_response], (number,))
    return True


def return_pages(connection: sqlite3.Connection) -> bool:
    """Release some free pages, outside a transaction; returns whether there are more."""
    surplus = _pragma(connection, "freelist_count") - SLACK_PAGES
    if surplus > 0:  # a script, since only that steps this statement to its end
        pages = min(surplus, MAX_RETURNED_PAGES)
        connection.executescript(f"PRAGMA incremental_vacuum({pages})")
    return surplus > MAX_RETURNED_PAGES


def used_bytes(connection: sqlite3.Connection) -> int:
    """Bytes of the used pages, as the open transaction sees them."""
    used = _pragma(connection, "page_count") - _pragma(connection, "freelist_count")
    return used * _pragma(connection, "page_size")


def _oldest(connection: sqlite3.Connection, most: int) -> list[tuple[float, int, int]]:
    return connection.execute(_OLDEST, {"most": most}).fetchall()


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])
