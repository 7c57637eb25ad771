"""One SQLite file and the one thread that owns it: jobs go in, futures come out.

It does not know what the jobs read or write.
"""

import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ossia.errors import StoreError
from ossia.store.opening import open_connection
from ossia.store.retention import Retention, remove_oldest, return_pages

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

MAX_GROUP_JOBS = 256
MAX_GROUP_BYTES = 16 * 2**20
"""Limits of one commit."""

logger = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Job:
    work: Work[Any]
    num_bytes: int
    future: "Future[Any]"
    result: Any = None
    error: Exception | None = None

    def resolve(self) -> None:
        if self.error is None:
            self.future.set_result(self.result)
        else:
            self.future.set_exception(self.error)


class Database:
    """Runs jobs in order; many share one commit, and so one sync to disk.

    A future resolves after the commit of its job. It cannot be cancelled: whoever stops waiting for
    a write has not stopped the write.
    """

    def __init__(
        self,
        path: Path | None,
        *,
        retention: Retention | None = None,
        busy_seconds: float = 2.0,
        tidy_seconds: float = 60.0,
        max_waiting: int = 4096,
        max_waiting_bytes: int = 256 * 2**20,
    ) -> None:
        """Open the file.

        Args:
            path: of the file; it and missing folders are created. None: in memory.
            retention: limits of age and size.
            busy_seconds: how long to wait for another process to release the file.
            tidy_seconds: how often to delete expired rows when idle.
            max_waiting: limit of queued jobs; more are refused.
            max_waiting_bytes: of their texts.

        Raises:
            StoreError: see `open_connection`.
        """
        self.retention = retention or Retention()
        self._connection = open_connection(path, busy_seconds=busy_seconds)
        self._tidy_seconds = tidy_seconds
        self._next_tidy = 0.0
        self._max_waiting = max_waiting
        self._max_waiting_bytes = max_waiting_bytes
        self._waiting: deque[_Job] = deque()
        self._waiting_bytes = 0
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="ossia-store", daemon=True)
        self._thread.start()

    def submit(self, work: Work[T], *, num_bytes: int = 0) -> "Future[T]":
        """Queue `work` for the store's thread, in a transaction shared with other jobs.

        Args:
            work: reads or writes by the connection it is given; begins and ends no transaction. It
                may be called again if the transaction it shared had to be given up.
            num_bytes: approximate bytes of its texts.

        Returns:
            What `work` returned, once it is committed. It fails with StoreError if the disk refused
            or too much waits, and with whatever else `work` raised.
        """
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()
        with self._changed:
            refusal = self._refusal(num_bytes)
            if refusal is None:
                self._waiting.append(_Job(work, num_bytes, future))
                self._waiting_bytes += num_bytes
                self._changed.notify()
        if refusal is not None:
            future.set_exception(StoreError(refusal))
        return future

    def close(self) -> None:
        """Finish queued jobs, then close the file; later submissions fail."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _refusal(self, num_bytes: int) -> str | None:
        if self._closed:
            return "the store was closed; start again to use it"
        waiting_bytes = self._waiting_bytes + num_bytes
        if len(self._waiting) >= self._max_waiting or waiting_bytes > self._max_waiting_bytes:
            return (
                f"{len(self._waiting)} jobs of {self._waiting_bytes} bytes wait for the store, "
                f"which lets {self._max_waiting} of {self._max_waiting_bytes} wait; try again later"
            )
        return None

    def _run(self) -> None:
        is_untidy = True
        while (group := self._take(0.0 if is_untidy else self._tidy_seconds)) is not None:
            self._carry_out(group)
            is_untidy = self._tidy()
        self._connection.close()

    def _take(self, patience_seconds: float) -> list[_Job] | None:
        """Take the next jobs, [] on a timeout; None: the store is closed and all jobs are done."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed, patience_seconds)
            if self._closed and not self._waiting:
                return None
            group: list[_Job] = []
            group_bytes = 0
            while self._waiting and len(group) < MAX_GROUP_JOBS and group_bytes < MAX_GROUP_BYTES:
                group.append(self._waiting.popleft())
                group_bytes += group[-1].num_bytes
            self._waiting_bytes -= group_bytes
            return group

    def _carry_out(self, group: list[_Job]) -> None:
        """Run the jobs in one transaction; if that fails, its halves in two, down to single jobs.

        So one job that the disk refuses (too large, say) does not fail its neighbours, and while
        nothing can be written all that only read are still answered.
        """
        if not group:
            return
        try:
            self._attempt(group)
        except Exception as error:  # the thread outlives every job
            if len(group) > 1:
                middle = len(group) // 2
                self._carry_out(group[:middle])
                self._carry_out(group[middle:])
                return
            group[0].error = _store_error(error)
        for job in group:
            job.resolve()

    def _attempt(self, group: list[_Job]) -> None:
        self._begin()
        for job in group:
            job.error = None
            self._connection.execute("SAVEPOINT job")
            try:
                job.result = job.work(self._connection)
            except Exception as error:  # its caller's alone, unless SQLite gave up the transaction
                if not self._connection.in_transaction:
                    raise
                job.error = _store_error(error)
                self._connection.execute("ROLLBACK TO job")
            self._connection.execute("RELEASE job")
        self._connection.execute("COMMIT")

    def _begin(self) -> None:
        if self._connection.in_transaction:  # left open by what failed
            self._connection.execute("ROLLBACK")
        self._connection.execute("BEGIN")

    def _tidy(self) -> bool:
        """Delete a few expired rows; returns whether there are more."""
        if time.monotonic() < self._next_tidy:
            return False
        try:
            self._begin()
            is_untidy = remove_oldest(self._connection, self.retention)
            self._connection.execute("COMMIT")
            return return_pages(self._connection) or is_untidy
        except sqlite3.Error as error:
            logger.warning("the store could not be tidied: %s", error)
            self._next_tidy = time.monotonic() + self._tidy_seconds
            return False


def _store_error(error: Exception) -> Exception:
    """Translate an error for callers; SQLite's errors of a faulty job stay as they are."""
    if type(error) not in (sqlite3.OperationalError, sqlite3.DatabaseError):
        return error
    failure = StoreError(f"the store cannot be used now: {error}; see to its disk, then try again")
    failure.__cause__ = error
    return failure
