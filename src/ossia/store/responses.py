"""Stores responses and their events as opaque JSON text; each belongs to one owner."""

import sqlite3
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, NamedTuple

from ossia.store.database import Database
from ossia.store.schema import RUNNING

MAX_CHAIN_BYTES = 64 * 2**20
"""Limit of text in one chain; no model reads as much."""
MAX_EVENTS_BYTES = 4 * 2**20
"""Limit of the events that one call returns."""

_COLUMNS = "response_id, owner, created_at, status, body, turn, previous_id, background"
_IS_RUNNING = "status IN ('queued', 'in_progress')"
_IS_THERE = f"response_id = ? AND owner = ? AND (created_at >= ? OR {_IS_RUNNING})"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredResponse:
    """One stored response."""

    response_id: str
    owner: str
    created_at: float
    """Seconds since 1970."""
    status: str
    """OpenAI's status; one of `RUNNING` until the response has ended."""
    body: str
    """JSON text of the Response object."""
    turn: str
    """JSON text of the input and output of this turn, without earlier turns."""
    previous_id: str | None
    background: bool


class ResponseChain(NamedTuple):
    """A response and its predecessors."""

    responses: list[StoredResponse]
    """Oldest first, the requested one last; empty if that is missing."""
    lost: str | None
    """The id at which the chain breaks: missing, repeated, or past the limits."""


class Responses:
    """The table of responses. Those of another owner, and expired ones, appear missing.

    Every method returns at once; the future fails with StoreError if the disk refuses.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, response: StoredResponse) -> "Future[None]":
        """Insert a new response; raises sqlite3.IntegrityError if the id exists."""
        row = (
            response.response_id,
            response.owner,
            response.created_at,
            response.status,
            response.body,
            response.turn,
            response.previous_id,
            response.background,
        )

        def insert(connection: sqlite3.Connection) -> None:
            marks = ", ".join("?" * len(row))
            connection.execute(f"INSERT INTO responses ({_COLUMNS}) VALUES ({marks})", row)

        return self._database.submit(insert, num_bytes=len(response.body) + len(response.turn))

    def finish(self, response_id: str, *, status: str, body: str, turn: str) -> "Future[bool]":
        """Update a running response that has ended.

        Returns:
            False: it was deleted meanwhile or has ended already, so nothing was written.
        """
        assert status not in RUNNING, f"{status} is not a final status"

        def update(connection: sqlite3.Connection) -> bool:
            cursor = connection.execute(
                "UPDATE responses SET status = ?, body = ?, turn = ? "
                f"WHERE response_id = ? AND {_IS_RUNNING}",
                (status, body, turn, response_id),
            )
            return cursor.rowcount > 0

        return self._database.submit(update, num_bytes=len(body) + len(turn))

    def get(self, response_id: str, owner: str) -> "Future[StoredResponse | None]":
        """The response; None if it is missing."""
        horizon = self._database.retention.horizon()
        return self._database.submit(
            lambda connection: _find(connection, response_id, owner, horizon)
        )

    def chain(self, response_id: str, owner: str, limit: int = 1000) -> "Future[ResponseChain]":
        """The response and those before it by `previous_id`, at most `limit` and 64 MiB of text."""
        horizon = self._database.retention.horizon()

        def walk(connection: sqlite3.Connection) -> ResponseChain:
            found: dict[str, StoredResponse] = {}
            num_bytes = 0
            wanted: str | None = response_id
            while wanted is not None and wanted not in found and len(found) < limit:
                response = _find(connection, wanted, owner, horizon)
                if response is None:
                    break
                num_bytes += len(response.body) + len(response.turn)
                if found and num_bytes > MAX_CHAIN_BYTES:
                    break
                found[wanted] = response
                wanted = response.previous_id
            return ResponseChain(list(reversed(found.values())), wanted)

        return self._database.submit(walk)

    def delete(self, response_id: str, owner: str) -> "Future[bool]":
        """Delete a response with its events and exact tokens; returns whether it existed."""
        horizon = self._database.retention.horizon()

        def remove(connection: sqlite3.Connection) -> bool:
            cursor = connection.execute(
                f"DELETE FROM responses WHERE {_IS_THERE}", (response_id, owner, horizon)
            )
            return cursor.rowcount > 0

        return self._database.submit(remove)

    def append_events(self, response_id: str, events: Sequence[tuple[int, str]]) -> "Future[bool]":
        """Insert events of a response, as sequence numbers and JSON texts.

        Returns:
            False: the response was deleted meanwhile, so nothing was written. A sequence number
            that is known fails with sqlite3.IntegrityError, and none of these events is kept.
        """

        def insert(connection: sqlite3.Connection) -> bool:
            row = connection.execute(
                "SELECT number FROM responses WHERE response_id = ?", (response_id,)
            ).fetchone()
            if row is not None:
                connection.executemany(
                    "INSERT INTO events (response, sequence_number, json) VALUES (?, ?, ?)",
                    [(row[0], number, json) for number, json in events],
                )
            return row is not None

        return self._database.submit(insert, num_bytes=sum(len(json) for _, json in events))

    def events(
        self, response_id: str, owner: str, after: int, limit: int = 1000
    ) -> "Future[list[tuple[int, str]]]":
        """Events with numbers above `after`, ascending: at most `limit`, and about 4 MiB.

        The rest is to be asked for with the last number of these, until nothing comes.
        """
        horizon = self._database.retention.horizon()

        def select(connection: sqlite3.Connection) -> list[tuple[int, str]]:
            cursor = connection.execute(
                "SELECT sequence_number, json FROM responses JOIN events ON response = number "
                f"WHERE {_IS_THERE} AND sequence_number > ? ORDER BY sequence_number LIMIT ?",
                (response_id, owner, horizon, after, limit),
            )
            found: list[tuple[int, str]] = []
            num_bytes = 0
            for number, json in cursor:
                found.append((number, json))
                num_bytes += len(json)
                if num_bytes >= MAX_EVENTS_BYTES:
                    break
            return found

        return self._database.submit(select)

    def unfinished(self) -> "Future[list[StoredResponse]]":
        """Every running response of every owner, oldest first; at a start, those interrupted."""
        return self._database.submit(
            lambda connection: [
                _response(row)
                for row in connection.execute(
                    f"SELECT {_COLUMNS} FROM responses WHERE {_IS_RUNNING} ORDER BY number"
                )
            ]
        )


def _find(
    connection: sqlite3.Connection, response_id: str, owner: str, horizon: float
) -> StoredResponse | None:
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM responses WHERE {_IS_THERE}", (response_id, owner, horizon)
    ).fetchone()
    return None if row is None else _response(row)


def _response(row: tuple[Any, ...]) -> StoredResponse:
    response_id, owner, created_at, status, body, turn, previous_id, background = row
    return StoredResponse(
        response_id=response_id,
        owner=owner,
        created_at=created_at,
        status=status,
        body=body,
        turn=turn,
        previous_id=previous_id,
        background=bool(background),
    )
