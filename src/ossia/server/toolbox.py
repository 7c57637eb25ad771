"""What the operator offers the model, and each conversation's pages and variables.

Knows no request and no wire; a conversation is an opaque key.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from ossia.errors import OssiaError
from ossia.harmony.messages import Namespace
from ossia.server.api.builtin_tools import available
from ossia.tools.sessions import Lazy, Session, close_kit, described, open_session
from ossia.tools.tool import Label, Tested, Toolkit, ToolSpec

MAX_SESSIONS = 64
IDLE_SECONDS = 600.0

logger = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Held:
    """One conversation's tools."""

    session: Session
    gathered: set[Label] = field(default_factory=set)
    """What calls brought into the conversation so far."""
    busy: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by the turn that uses it: two branches of a conversation take turns."""
    used: float = 0.0


class Toolbox:
    """Kits, started with the server, and their sessions, kept while conversations go on."""

    def __init__(
        self,
        kits: Mapping[str, Lazy],
        *,
        demanded: Collection[str] = (),
        clock: Callable[[], float] = time.monotonic,
        max_sessions: int = MAX_SESSIONS,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        """Nothing is started yet: see `open`.

        Args:
            kits: by the name they are told by in logs.
            demanded: names of kits that must not be left out.
            clock: seconds.
            max_sessions: conversations whose state is kept; the longest unused goes first.
            idle_seconds: state unused for so long goes.
        """
        self._given = kits
        self._demanded = frozenset(demanded)
        self._clock = clock
        self._max_sessions = max_sessions
        self._idle_seconds = idle_seconds
        self.kits: dict[str, Toolkit] = {}
        """Those that were started, by name."""
        self._held: OrderedDict[str, Held] = OrderedDict()
        self._told: dict[str, str] = {}
        self.available: Mapping[str, Namespace] = {}
        """What may be named in a request: browser, python, and each MCP server."""
        self.refusals: dict[str, str] = {}
        """Why a kit is not offered, by its name."""

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        """Every tool that is offered."""
        return tuple(spec for kit in self.kits.values() for spec in kit.specs)

    @property
    def reports(self) -> dict[str, dict[str, Any]]:
        """What tests of walls found, by the name of the kit."""
        tested = {name: kit for name, kit in self.kits.items() if isinstance(kit, Tested)}
        return {name: kit.report.to_dict() for name, kit in tested.items()}

    async def open(self) -> None:
        """Start the kits; one that cannot be offered here is left out.

        Raises:
            OssiaError: it was demanded; those that were started are for `close`.
        """
        for name, kit in self._given.items():
            try:
                started = self.kits[name] = await kit.start()
                self._told |= described(started)
            except OssiaError as error:
                if name in self._demanded:
                    raise
                self.refusals[name] = str(error)
                logger.warning("%s is not offered: %s", name, error)
        self.available = available(self.specs, self._told)

    async def close(self) -> None:
        """End everything."""
        for held in self._held.values():
            await held.session.close()
        self._held.clear()
        for kit in self.kits.values():
            await close_kit(kit)
        self.kits.clear()

    @asynccontextmanager
    async def lease(self, key: str | None) -> AsyncIterator[Held]:
        """A conversation's tools for one turn; without a key they are gone after it."""
        await self._tidy(makes_room=key is not None and key not in self._held)
        if key is None:
            held = Held(await open_session(self.kits.values()))
            try:
                yield held
            finally:
                await held.session.close()
            return
        if key not in self._held:
            self._held[key] = Held(await open_session(self.kits.values()))
        held = self._held[key]
        self._held.move_to_end(key)
        held.used = self._clock()
        async with held.busy:
            try:
                yield held
            finally:
                held.used = self._clock()

    def resolve(self, key: str, cursor: int, line: int | None = None) -> tuple[str, str] | None:
        """URL and title of what a conversation cites; None if nothing."""
        held = self._held.get(key)
        return None if held is None else held.session.resolve(cursor, line)

    async def _tidy(self, *, makes_room: bool) -> None:
        """Close what was not used for long, and for a new one the oldest of too many."""
        now = self._clock()
        for key, held in list(self._held.items()):
            is_old = now - held.used > self._idle_seconds
            is_one_too_many = makes_room and len(self._held) >= self._max_sessions
            if not held.busy.locked() and (is_old or is_one_too_many):
                del self._held[key]
                await held.session.close()
