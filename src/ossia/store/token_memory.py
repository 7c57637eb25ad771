"""Exact tokens by key, so that a later prompt repeats what was sampled; keys and values are opaque.

A miss is never an error: the caller renders again.
"""

import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from typing import TypeVar

from ossia.store.database import Database
from ossia.store.recent import RecentMemory

T = TypeVar("T")


class TokenMemory:
    """Sampled tokens by owner and key: on disk, or in memory for a limited time."""

    def __init__(
        self,
        database: Database,
        *,
        recent_bytes: int = 64 * 2**20,
        recent_seconds: float = 3600.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Store in `database`, or only in memory what must not be on disk.

        Args:
            database: for what is durable; its retention bounds age and size.
            recent_bytes: limit of bytes in memory.
            recent_seconds: expiry in memory after the last use.
            clock: for what is in memory; seconds since any moment.
        """
        self._database = database
        self._recent = RecentMemory(max_bytes=recent_bytes, max_seconds=recent_seconds, clock=clock)

    def remember(
        self,
        owner: str,
        values: Mapping[str, str],
        *,
        durable: bool,
        response_id: str | None = None,
    ) -> "Future[None]":
        """Store values by key; replaces existing ones.

        Args:
            owner: the only one who can recall them.
            values: by key.
            durable: store in the database; otherwise in memory.
            response_id: the stored response with which durable ones are removed; if that is gone
                already, nothing is kept. None: they go when they are too old.
        """
        if not durable:
            self._recent.remember(owner, values)
            return _done(None)
        self._recent.forget(owner, values)  # older now than what is stored
        created_at = self._database.retention.clock()

        def upsert(connection: sqlite3.Connection) -> None:
            response = None
            if response_id is not None:
                response = connection.execute(
                    "SELECT number FROM responses WHERE response_id = ? AND owner = ?",
                    (response_id, owner),
                ).fetchone()
                if response is None:
                    return
            connection.executemany(
                "INSERT INTO token_memory (owner, key, value, created_at, response) "
                "VALUES (?, ?, ?, ?, ?) ON CONFLICT (owner, key) DO UPDATE SET "
                "value = excluded.value, created_at = excluded.created_at, "
                "response = excluded.response",
                [(owner, key, value, created_at, response and response[0]) for key, value in rows],
            )

        rows = list(values.items())
        return self._database.submit(upsert, num_bytes=sum(len(value) for value in values.values()))

    def recall(self, owner: str, keys: Iterable[str]) -> "Future[dict[str, str]]":
        """The values of these keys; missing keys are absent."""
        wanted = list(keys)
        recent = self._recent.recall(owner, wanted)
        missing = [key for key in wanted if key not in recent]
        if not missing:
            return _done(recent)
        horizon = self._database.retention.horizon()

        def select(connection: sqlite3.Connection) -> dict[str, str]:
            found = dict(recent)
            for key in missing:
                row = connection.execute(
                    "SELECT value FROM token_memory "
                    "WHERE owner = ? AND key = ? AND created_at >= ?",
                    (owner, key, horizon),
                ).fetchone()
                if row is not None:
                    found[key] = row[0]
            return found

        return self._database.submit(select)

    def take(self, owner: str, key: str) -> "Future[str | None]":
        """Remove and return a value, so that only one of concurrent callers gets it."""
        recent = self._recent.take(owner, key)
        horizon = self._database.retention.horizon()

        def remove(connection: sqlite3.Connection) -> str | None:
            there = "FROM token_memory WHERE owner = ? AND key = ? AND created_at >= ?"
            place = (owner, key, horizon)
            row = connection.execute(f"SELECT value {there}", place).fetchone()
            connection.execute(f"DELETE {there}", place)
            if recent is not None:  # newer than the row
                return recent
            return None if row is None else str(row[0])

        return self._database.submit(remove)


def _done(value: T) -> "Future[T]":
    future: Future[T] = Future()
    future.set_result(value)
    return future
