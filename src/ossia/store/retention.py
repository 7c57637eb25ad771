"""What must go: what is too old, and the oldest of what is too much, a little at a time."""

import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass

MAX_REMOVED = 16
"""Rows that one transaction may remove; an answer's events and tokens go with its row."""
MAX_FREED_BYTES = 4 * 2**20
"""After so much one transaction removes no further row."""
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
    """How long and how much is remembered; what still runs is never removed."""

    max_age_seconds: float = 30 * 86400.0
    max_bytes: int = 2**30
    """Of the file's pages in use, all tables and indexes together."""
    clock: Callable[[], float] = time.time
    """Seconds since 1970, as in `created_at`."""

    def horizon(self) -> float:
        """What was created before is gone, whether it has been removed yet or not."""
        return self.clock() - self.max_age_seconds


def remove_oldest(connection: sqlite3.Connection, retention: Retention) -> bool:
    """Remove a little of what must go, within the open transaction; True: there may be more."""
    horizon = retention.horizon()
    before = used = used_bytes(connection)
    oldest = connection.execute(_OLDEST, {"most": MAX_REMOVED}).fetchall()
    for created_at, number, is_response in oldest:
        must_go = created_at < horizon or used > retention.max_bytes
        if not must_go or before - used >= MAX_FREED_BYTES:
            return must_go
        connection.execute(_REMOVE[is_response], (number,))
        used = used_bytes(connection)
    return bool(oldest)


def return_pages(connection: sqlite3.Connection) -> bool:
    """Give some of many free pages back, outside a transaction; True: there are more."""
    surplus = _pragma(connection, "freelist_count") - SLACK_PAGES
    if surplus > 0:  # a script, since only that steps this statement to its end
        pages = min(surplus, MAX_RETURNED_PAGES)
        connection.executescript(f"PRAGMA incremental_vacuum({pages})")
    return surplus > MAX_RETURNED_PAGES


def used_bytes(connection: sqlite3.Connection) -> int:
    """Bytes of the pages in use, as the open transaction sees them."""
    used = _pragma(connection, "page_count") - _pragma(connection, "freelist_count")
    return used * _pragma(connection, "page_size")


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])
