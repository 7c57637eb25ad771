"""Assembles the server: routes, services, and their lifespan.

The guard wraps it: see `guard`.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import FastAPI

from ossia import __version__
from ossia.engine.options import LoadOptions
from ossia.errors import OssiaError
from ossia.providers.agent import AgentClient
from ossia.providers.metrics import Metrics
from ossia.providers.provider import Provider
from ossia.providers.registry import create_provider
from ossia.providers.tool_sessions import ToolSessions
from ossia.server import chat_completions, completions, discovery, health, responses
from ossia.server.api import errors, models
from ossia.server.api.exact_tokens import KEY_BYTES, ExactTokens, ReferenceSigner
from ossia.server.api.openapi import DocumentedApp
from ossia.server.http.drain import Drain
from ossia.server.services import ServeOptions, Services
from ossia.store.database import Database
from ossia.store.responses import Responses
from ossia.store.token_memory import TokenMemory
from ossia.tools.sessions import LazyToolkit

if TYPE_CHECKING:
    from ossia.server.mcp_endpoint import McpEndpoint

DESCRIPTION = "OpenAI's Responses and Chat Completions API, spoken by a gpt-oss model of your own."


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """What to serve, and where to store state."""

    load_options: LoadOptions
    api: ServeOptions = ServeOptions()
    store: Path | None = None
    """SQLite file of stored responses; None: in memory."""
    state_folder: Path | None = None
    """Folder of the key that signs references to reasoning; None: a new key for this run."""
    toolkits: Mapping[str, LazyToolkit] = field(default_factory=dict)
    """Toolkits that requests may use, by name."""
    required: frozenset[str] = frozenset()
    """Names of the toolkits without which the server must not start."""
    mcp: "McpEndpoint | None" = None
    """Serves the built-in tools to MCP clients too."""
    max_waiting: int = 64
    """Turns queued beyond those that run."""


class Server:
    """The FastAPI app with its provider, store and tools."""

    def __init__(
        self,
        serving: Serving,
        drain: Drain,
        *,
        progress: Callable[[str, float], None] = lambda phase, share: None,
        opened: Callable[[Provider], None] = lambda provider: None,
    ) -> None:
        """Open the store; the engine starts with the app.

        Args:
            serving: the model, tools and storage.
            drain: signals when the server is asked to stop.
            progress: called with phase and share while the model loads.
            opened: called once the model is loaded.

        Raises:
            StoreError: the stored responses cannot be opened.
        """
        self.failure: OssiaError | None = None
        """Why the model could not be loaded; the server then stops."""
        self.metrics = Metrics()
        self.provider = create_provider(
            serving.load_options, self.metrics, max_waiting=serving.max_waiting, progress=progress
        )
        self._opened = opened
        self._tool_sessions = ToolSessions(serving.toolkits, required=serving.required)
        self._mcp = serving.mcp
        self._drain = drain
        self._database = Database(serving.store)
        folder = serving.state_folder
        if folder is None:
            signer = ReferenceSigner(secrets.token_bytes(KEY_BYTES))
        else:
            signer = ReferenceSigner.in_folder(folder)
        self._services = Services(
            provider=AgentClient(
                self.provider, self._tool_sessions, on_tool_call=self.metrics.tool_called
            ),
            tool_sessions=self._tool_sessions,
            responses=Responses(self._database),
            memory=ExactTokens(
                TokenMemory(self._database),
                signer,
                model=lambda: self.provider.model.fingerprint,
                on_hits=self.metrics.remembered,
            ),
            metrics=self.metrics,
            options=serving.api,
            drain=drain,
        )
        self.app = self._assembled()

    def _assembled(self) -> FastAPI:
        app = DocumentedApp(
            title="ossia",
            version=__version__,
            description=DESCRIPTION,
            lifespan=self._run,
        )
        errors.install(app)
        for room in (responses, chat_completions, completions, models, discovery):
            app.include_router(room.routes(self._services))
        app.include_router(health.routes(self._services, self.provider, self._drain))
        if self._mcp is not None:
            app.include_router(self._mcp.routes())
        return app

    @asynccontextmanager
    async def _run(self, app: FastAPI) -> AsyncIterator[None]:
        await responses.settle_unfinished(self._services)
        async with AsyncExitStack() as stack:
            stack.callback(self._database.close)
            self.provider.open()
            stack.push_async_callback(self.provider.close)
            stack.push_async_callback(self._tool_sessions.close)
            await self._tool_sessions.open()
            if self._mcp is not None:
                await stack.enter_async_context(self._mcp.run(self._tool_sessions, self.metrics))
            tasks = [
                asyncio.create_task(one)
                for one in (self._report_opened(), self._end_turns_at_last_call())
            ]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)

    async def _report_opened(self) -> None:
        """Report when the model is loaded; if it cannot be, stop the server."""
        try:
            await self.provider.opened()
        except OssiaError as error:
            self.failure = error
            self._drain.begin(time.monotonic())
        else:
            self._opened(self.provider)

    async def _end_turns_at_last_call(self) -> None:
        """End turns that still run when the grace period is over."""
        await self._drain.last_call.wait()
        self.provider.end_turns("the server is being stopped")
