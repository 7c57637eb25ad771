"""Sessions of our tools for one MCP client: its own, and more by handles that the client keeps."""

import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from ossia.tools.session_pool import SessionLease, SessionPool
from ossia.tools.sessions import open_session
from ossia.tools.tool import Toolkit

NEW = "new"
"""The value by which a client requests a new handle."""
MAX_SESSIONS = 8
IDLE_SECONDS = 600.0

_OWN = ""
"""The key of a client's own session."""


class SessionHandles:
    """The sessions of one client, in a pool that no other client reaches."""

    def __init__(
        self,
        toolkits: Sequence[Toolkit],
        *,
        has_own: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Offer toolkits to one client; they are closed by whoever started them.

        Args:
            toolkits: what to offer.
            has_own: whether calls without a handle share a session; else each gets a new one.
            clock: seconds.
        """
        self._has_own = has_own
        self._pool = SessionPool(
            lambda: open_session(toolkits),
            max_sessions=MAX_SESSIONS,
            idle_seconds=IDLE_SECONDS,
            pinned=(_OWN,),
            clock=clock,
        )

    @asynccontextmanager
    async def lease(self, handle: str = _OWN) -> AsyncIterator[SessionLease | None]:
        """Use a session for one call; None if there is none of that handle (any more).

        Args:
            handle: of an earlier session (128 random bits), `NEW` for another one, or empty for
                the client's own.

        Raises:
            OssiaError: a toolkit cannot be offered now.
        """
        if handle == NEW or not (handle or self._has_own):
            handle = secrets.token_hex(16)
        elif handle and handle not in self._pool:
            yield None
            return
        async with self._pool.lease(handle) as lease:
            yield lease

    async def close(self) -> None:
        """End all sessions."""
        await self._pool.close()
