"""Sessions of our tools for one MCP client: its own, and more by handles that it keeps.

Knows when a session has been idle for too long; does not know what its tools do.
"""

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ossia.tools.sessions import Session, open_session
from ossia.tools.tool import Label, Toolkit

NEW = "new"
"""What a client says instead of a handle to get one."""
MAX_SESSIONS = 8
IDLE_SECONDS = 600.0


@dataclass(slots=True)
class Held:
    """A session, and who else is using it."""

    handle: str
    """128 random bits; empty for the client's own session."""
    session: Session
    last_used: float
    gathered: set[Label] = field(default_factory=set)
    """What calls brought into it so far."""
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held during a call: a session's calls come one after the other."""


class Handles:
    """The sessions of one client. What others do is nothing to them: make one of these for each."""

    def __init__(
        self,
        kits: Sequence[Toolkit],
        *,
        has_own: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Offer kits to one client; they are closed by whoever started them.

        Args:
            kits: what to offer.
            has_own: whether calls without a handle share a session; else each gets a new one.
            clock: seconds.
        """
        self._kits = tuple(kits)
        self._has_own = has_own
        self._clock = clock
        self._held: dict[str, Held] = {}
        self._opening = asyncio.Lock()

    async def get(self, handle: str = "") -> Held | None:
        """A session; None if there is none of that handle (any more).

        Args:
            handle: of an earlier session, `NEW` for another one, or empty for the client's own.

        Raises:
            OssiaError: a kit cannot be offered now.
        """
        async with self._opening:
            await self._forget_idle()
            if handle == NEW or not (handle or self._has_own):
                handle = secrets.token_hex(16)
            elif handle and handle not in self._held:
                return None
            if handle not in self._held:
                await self._make_room()
                session = await open_session(self._kits)
                self._held[handle] = Held(handle, session, self._clock())
            held = self._held[handle]
            held.last_used = self._clock()
            return held

    async def close(self) -> None:
        """End all sessions."""
        for held in tuple(self._held.values()):
            await self._forget(held)

    async def _forget_idle(self) -> None:
        now = self._clock()
        for held in self._idle():
            if now - held.last_used > IDLE_SECONDS:
                await self._forget(held)

    async def _make_room(self) -> None:
        """Forget what was used least lately; sessions in use may exceed the bound for a while."""
        idle = sorted(self._idle(), key=lambda held: held.last_used)
        for held in idle[: max(0, len(self._held) + 1 - MAX_SESSIONS)]:
            await self._forget(held)

    def _idle(self) -> list[Held]:
        return [held for held in self._held.values() if held.handle and not held.turn.locked()]

    async def _forget(self, held: Held) -> None:
        del self._held[held.handle]
        await held.session.close()
