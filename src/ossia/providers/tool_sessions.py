"""What the operator offers the model, and each conversation's pages and variables.

Knows no request and no wire; a conversation is an opaque key.
"""

import logging
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

from ossia.errors import OssiaError
from ossia.harmony.messages import Namespace
from ossia.tools.session_pool import SessionLease, SessionPool
from ossia.tools.sessions import LazyToolkit, close_toolkit, described, namespaces_of, open_session
from ossia.tools.tool import Tested, Toolkit, ToolSpec

MAX_SESSIONS = 64
IDLE_SECONDS = 600.0

logger = logging.getLogger(__name__)


class Toolbox:
    """Toolkits, started with the server, and their sessions, kept while conversations go on."""

    def __init__(
        self,
        toolkits: Mapping[str, LazyToolkit],
        *,
        demanded: Collection[str] = (),
        clock: Callable[[], float] = time.monotonic,
        max_sessions: int = MAX_SESSIONS,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        """Nothing is started yet: see `open`.

        Args:
            toolkits: by the name they are told by in logs.
            demanded: names of toolkits that must not be left out.
            clock: seconds.
            max_sessions: conversations whose state is kept; the longest unused goes first.
            idle_seconds: state unused for so long goes.
        """
        self._toolkits_to_start = toolkits
        self._demanded = frozenset(demanded)
        self.toolkits: dict[str, Toolkit] = {}
        """Those that were started, by name."""
        self._pool = SessionPool(
            lambda: open_session(self.toolkits.values()),
            max_sessions=max_sessions,
            idle_seconds=idle_seconds,
            clock=clock,
        )
        self._descriptions: dict[str, str] = {}
        self.available: Mapping[str, Namespace] = {}
        """What may be named in a request: browser, python, and each MCP server."""
        self.refusals: dict[str, str] = {}
        """Why a toolkit is not offered, by its name."""

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        """Every tool that is offered."""
        return tuple(spec for toolkit in self.toolkits.values() for spec in toolkit.specs)

    @property
    def reports(self) -> dict[str, dict[str, Any]]:
        """What tests of walls found, by the name of the toolkit."""
        tested = {
            name: toolkit for name, toolkit in self.toolkits.items() if isinstance(toolkit, Tested)
        }
        return {name: toolkit.report.to_dict() for name, toolkit in tested.items()}

    async def open(self) -> None:
        """Start the toolkits; one that cannot be offered here is left out.

        Raises:
            OssiaError: it was demanded; those that were started are for `close`.
        """
        for name, toolkit in self._toolkits_to_start.items():
            try:
                started = self.toolkits[name] = await toolkit.start()
                self._descriptions |= described(started)
            except OssiaError as error:
                if name in self._demanded:
                    raise
                self.refusals[name] = str(error)
                logger.warning("%s is not offered: %s", name, error)
        self.available = namespaces_of(self.specs, self._descriptions)

    async def close(self) -> None:
        """End everything."""
        await self._pool.close()
        for toolkit in self.toolkits.values():
            await close_toolkit(toolkit)
        self.toolkits.clear()

    def lease(self, key: str | None) -> AbstractAsyncContextManager[SessionLease]:
        """A conversation's tools for one turn; without a key they are gone after it."""
        return self._pool.lease(key)

    def resolve(self, key: str, cursor: int, line: int | None = None) -> tuple[str, str] | None:
        """URL and title of what a conversation cites; None if nothing."""
        session = self._pool.find(key)
        return None if session is None else session.resolve(cursor, line)
