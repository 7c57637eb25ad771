"""Graceful shutdown: no new work, a grace period for running work, then a last call.

Knows no signals and no sockets; the guard and `listen` query it.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class Drain:
    """The state of a graceful shutdown, and the number of running requests.

    Attributes:
        begun: the server takes no new work and is not ready.
        running: number of running requests and background turns.
        last_call: set when the grace period is over. A stream then sends its terminal
            event at once; what still runs a second later is cancelled.
    """

    def __init__(self, grace_seconds: float = 30.0) -> None:
        self.grace_seconds = grace_seconds
        self.begun = False
        self.running = 0
        self.last_call = asyncio.Event()
        self._until = 0.0

    @contextmanager
    def work(self) -> Iterator[None]:
        """Count a piece of work: a request, or a turn without one."""
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1

    def begin(self, now: float) -> None:
        """Refuse new work; running work has the grace period."""
        if not self.begun:
            self.begun = True
            self._until = now + self.grace_seconds

    def over(self, now: float) -> bool:
        """Whether the server may stop: nothing runs, or a second has passed since the last call."""
        if not self.begun:
            return False
        if self.running and now >= self._until:
            self.last_call.set()
        return not self.running or now >= self._until + 1
