"""How a server comes to its end: no new work, what runs may finish, then a last call.

It knows no signals and no sockets; the guard and the listening side ask it.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class Drain:
    """Whether new work is taken, and how much is running.

    Attributes:
        begun: the server takes no new work and is not ready.
        running: pieces of work that have begun and not ended.
        last_call: set when the time to finish is over. A stream that hears it sends its terminal
            event at once; what still runs a second later is cut off.
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
        """Take no new work from here on; what runs has the time of grace."""
        if not self.begun:
            self.begun = True
            self._until = now + self.grace_seconds

    def over(self, now: float) -> bool:
        """Whether the server may end: nothing runs, or a second has passed since the last call."""
        if not self.begun:
            return False
        if self.running and now >= self._until:
            self.last_call.set()
        return not self.running or now >= self._until + 1
