"""The operator's toolkits, and the tool session of each conversation.

Knows no request and no HTTP; a conversation is an opaque key.
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


class ToolSessions:
    """Toolkits, started with the server, and a session per conversation."""

    def __init__(
        self,
        toolkits: Mapping[str, LazyToolkit],
        *,
        required: Collection[str] = (),
        clock: Callable[[], float] = time.monotonic,
        max_sessions: int = MAX_SESSIONS,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        """Configure; `open` starts the toolkits.

        Args:
            toolkits: by their names in logs.
            required: names of toolkits without which `open` fails.
            clock: seconds.
            max_sessions: open sessions; the least recently used is closed first.
            idle_seconds: a session unused for longer is closed.
        """
        self._toolkits_to_start = toolkits
        self._required = frozenset(required)
        self.toolkits: dict[str, Toolkit] = {}
        """The started toolkits, by name."""
        self._pool = SessionPool(
            lambda: open_session(self.toolkits.values()),
            max_sessions=max_sessions,
            idle_seconds=idle_seconds,
            clock=clock,
        )
        self._descriptions: dict[str, str] = {}
        self.available: Mapping[str, Namespace] = {}
        """Namespaces that a request may use: browser, python, and each MCP server."""
        self.refusals: dict[str, str] = {}
        """Why a toolkit could not start, by its name."""

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        """Every available tool."""
        return tuple(spec for toolkit in self.toolkits.values() for spec in toolkit.specs)

    @property
    def reports(self) -> dict[str, dict[str, Any]]:
        """Sandbox self-test reports, by name of the toolkit."""
        tested = {
            name: toolkit for name, toolkit in self.toolkits.items() if isinstance(toolkit, Tested)
        }
        return {name: toolkit.report.to_dict() for name, toolkit in tested.items()}

    async def open(self) -> None:
        """Start the toolkits; one that cannot start is skipped with a warning.

        Raises:
            OssiaError: a required toolkit cannot start; call `close` for the others.
        """
        for name, toolkit in self._toolkits_to_start.items():
            try:
                started = self.toolkits[name] = await toolkit.start()
                self._descriptions |= described(started)
            except OssiaError as error:
                if name in self._required:
                    raise
                self.refusals[name] = str(error)
                logger.warning("%s is not offered: %s", name, error)
        self.available = namespaces_of(self.specs, self._descriptions)

    async def close(self) -> None:
        """Close every session and toolkit."""
        await self._pool.close()
        for toolkit in self.toolkits.values():
            await close_toolkit(toolkit)
        self.toolkits.clear()

    def lease(self, key: str | None) -> AbstractAsyncContextManager[SessionLease]:
        """Lease a conversation's tool session for one turn; without a key it closes afterwards."""
        return self._pool.lease(key)

    def resolve(self, key: str, cursor: int, line: int | None = None) -> tuple[str, str] | None:
        """Return URL and title of a citation, or None."""
        session = self._pool.find(key)
        return None if session is None else session.resolve(cursor, line)
