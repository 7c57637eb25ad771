"""A pool of tool sessions: one per conversation, leased to one user at a time.

A conversation is an opaque key here.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from ossia.tools.sessions import ConversationTools
from ossia.tools.tool import Label


@dataclass(slots=True, eq=False)
class SessionLease:
    """One conversation's tools."""

    key: str
    labels: set[Label] = field(default_factory=set)
    """Labels of all calls in the conversation so far."""
    last_used: float = 0.0
    num_users: int = 0
    """Number of users and waiters."""
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Two branches of a conversation take turns."""
    _session: ConversationTools | None = None

    @property
    def session(self) -> ConversationTools:
        """The tools; only in the block of `SessionPool.lease`."""
        assert self._session is not None, "opened when it is leased"
        return self._session


class SessionPool:
    """Sessions by key. What must be one step has no `await` in it, so no lock guards the table."""

    def __init__(
        self,
        open_session: Callable[[], Awaitable[ConversationTools]],
        *,
        max_sessions: int,
        idle_seconds: float,
        pinned: Collection[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Create an empty pool.

        Args:
            open_session: opens one more.
            max_sessions: the least recently used makes room for one more; those in use may exceed
                the number for a while.
            idle_seconds: one unused for longer is closed at the next lease.
            pinned: keys whose sessions are closed at the end only.
            clock: seconds.
        """
        self._open_session = open_session
        self._max_sessions = max_sessions
        self._idle_seconds = idle_seconds
        self._pinned = frozenset(pinned)
        self._clock = clock
        self._leases: dict[str, SessionLease] = {}

    def __contains__(self, key: str) -> bool:
        """Whether the next lease of this key finds a session."""
        lease = self._leases.get(key)
        return lease is not None and not self._is_expired(lease)

    @asynccontextmanager
    async def lease(self, key: str | None) -> AsyncIterator[SessionLease]:
        """Use a conversation's session alone; without a key it is closed after the block.

        Raises:
            OssiaError: it cannot be opened now.
        """
        if key is None:
            lease = SessionLease("", _session=await self._open_session())
            try:
                yield lease
            finally:
                await lease.session.close()
            return
        lease, evicted = self._reserve(key)
        try:
            await _close(evicted)
            async with lease._lock:
                if lease._session is None:
                    lease._session = await self._open_session()
                yield lease
        finally:
            lease.num_users -= 1
            lease.last_used = self._clock()
            if self._leases.get(key) is not lease:  # the pool was closed meanwhile
                await _close([lease])
            elif lease._session is None and not lease.num_users:
                del self._leases[key]

    def find(self, key: str) -> ConversationTools | None:
        """The open session of a key, without leasing it."""
        lease = self._leases.get(key)
        return None if lease is None else lease._session

    async def close(self) -> None:
        """Close all sessions."""
        leases = [*self._leases.values()]
        self._leases.clear()
        await _close(leases)

    def _reserve(self, key: str) -> tuple[SessionLease, list[SessionLease]]:
        """The lease of a key, in use from now on, and those that it replaces, to be closed."""
        evicted = [each for each in self._leases.values() if self._is_expired(each)]
        for each in evicted:
            del self._leases[each.key]
        lease = self._leases.get(key)
        if lease is None:
            unused = [each for each in self._leases.values() if self._is_evictable(each)]
            unused.sort(key=lambda each: each.last_used)
            for each in unused[: max(0, len(self._leases) + 1 - self._max_sessions)]:
                evicted.append(self._leases.pop(each.key))
            lease = self._leases[key] = SessionLease(key)
        lease.num_users += 1
        lease.last_used = self._clock()
        return lease, evicted

    def _is_evictable(self, lease: SessionLease) -> bool:
        return not lease.num_users and lease.key not in self._pinned

    def _is_expired(self, lease: SessionLease) -> bool:
        return self._is_evictable(lease) and self._clock() - lease.last_used > self._idle_seconds


async def _close(leases: list[SessionLease]) -> None:
    for lease in leases:
        if lease._session is not None:
            await lease._session.close()
