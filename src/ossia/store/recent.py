"""An LRU cache in memory, bounded in bytes, whose entries also expire."""

import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping

ENTRY_BYTES = 300
"""Estimated overhead of an entry beside its texts: tuples, floats, links."""


class RecentMemory:
    """An LRU cache of texts by owner and key; safe for threads."""

    def __init__(
        self,
        *,
        max_bytes: int,
        max_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Create an empty cache.

        Args:
            max_bytes: of keys and values together, approximately.
            max_seconds: how long an entry stays after it was last used.
            clock: seconds since any moment.
        """
        self._max_bytes = max_bytes
        self._max_seconds = max_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._num_bytes = 0
        # Oldest use first: the value, and when it was used.
        self._entries: OrderedDict[tuple[str, str], tuple[str, float]] = OrderedDict()

    def remember(self, owner: str, values: Mapping[str, str]) -> None:
        """Store these values; skips one larger than the whole cache."""
        with self._lock:
            for key, value in values.items():
                self._drop((owner, key))
                if _entry_bytes((owner, key), value) <= self._max_bytes:
                    self._entries[owner, key] = (value, self._clock())
                    self._num_bytes += _entry_bytes((owner, key), value)
            self._prune()

    def recall(self, owner: str, keys: Iterable[str]) -> dict[str, str]:
        """Look up keys; those found become the most recently used."""
        with self._lock:
            self._prune()
            found = {}
            for key in keys:
                if entry := self._entries.get((owner, key)):
                    found[key] = entry[0]
                    self._entries[owner, key] = (entry[0], self._clock())
                    self._entries.move_to_end((owner, key))
            return found

    def take(self, owner: str, key: str) -> str | None:
        """Remove and return a value, so that only one caller gets it."""
        with self._lock:
            self._prune()
            entry = self._entries.get((owner, key))
            self._drop((owner, key))
            return None if entry is None else entry[0]

    def forget(self, owner: str, keys: Iterable[str]) -> None:
        """Delete these keys, if present."""
        with self._lock:
            for key in keys:
                self._drop((owner, key))

    def _prune(self) -> None:
        horizon = self._clock() - self._max_seconds
        while self._entries:
            oldest, (_, used_at) = next(iter(self._entries.items()))
            if used_at >= horizon and self._num_bytes <= self._max_bytes:
                return
            self._drop(oldest)

    def _drop(self, place: tuple[str, str]) -> None:
        if entry := self._entries.pop(place, None):
            self._num_bytes -= _entry_bytes(place, entry[0])


def _entry_bytes(place: tuple[str, str], value: str) -> int:
    return ENTRY_BYTES + sys.getsizeof(place[0]) + sys.getsizeof(place[1]) + sys.getsizeof(value)
