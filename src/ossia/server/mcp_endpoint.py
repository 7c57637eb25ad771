"""Serves the built-in tools to MCP clients at `/mcp` by Streamable HTTP, without streams.

The guard wraps it like every route. It knows no model and no conversation; a
tool's session is found by a handle that is valid for one key only.
"""

import hashlib
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from ossia.errors import MissingExtra, RequestError
from ossia.providers.metrics import Metrics
from ossia.providers.tool_sessions import ToolSessions
from ossia.server.api.errors import Forbidden
from ossia.server.http.headers import LOOPBACK, parse_authority
from ossia.tools.catalog import key_for_callers
from ossia.tools.mcp.sessions import SessionHandles
from ossia.tools.tool import ToolResult, ToolSpec

try:
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
    from mcp.server.transport_security import TransportSecuritySettings

    from ossia.tools.mcp.serving import tool_server
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "mcp":
        raise
    raise MissingExtra("--mcp-endpoint", "mcp", "mcp") from None

PATH = "/mcp"

audit = logging.getLogger("ossia.audit")


class McpEndpoint:
    """The MCP endpoint."""

    def __init__(self, allowed_hosts: Sequence[str] = ()) -> None:
        """Set the accepted host names besides loopback; see `GuardOptions`."""
        self._security = TransportSecuritySettings()
        for name in (*LOOPBACK, *allowed_hosts):
            self._allow(name)
        self._handles: dict[str, SessionHandles] = {}
        self._manager: StreamableHTTPSessionManager | None = None

    def routes(self) -> APIRouter:
        """Create the routes: POST alone, for lack of server-initiated messages and sessions."""
        router = APIRouter()

        @router.post(PATH, include_in_schema=False)
        async def speak(request: Request) -> Response:
            if "tools" not in request.state.caller.scopes:
                raise Forbidden(
                    "this key lacks the scope tools; "
                    "an operator makes one that has it: ossia keys add NAME --scope tools",
                    "missing_scope",
                )
            assert self._manager is not None, "it runs as long as the server"
            # An address of ours, since a connection came in by it.
            self._allow((request.scope.get("server") or ("",))[0])
            return _LibraryResponse(self._manager)

        return router

    @asynccontextmanager
    async def run(self, tool_sessions: ToolSessions, metrics: Metrics) -> AsyncIterator[None]:
        """Serve the toolkits of an open `ToolSessions`; other MCP servers are not proxied.

        Raises:
            RequestError: no toolkit is available.
        """
        toolkits = [kit for name, kit in tool_sessions.toolkits.items() if key_for_callers(name)]
        if not toolkits:
            reasons = "; ".join(tool_sessions.refusals.values()) or "none was chosen"
            raise RequestError(f"there is no tool to offer at {PATH}: {reasons}")

        def handles_of(context: Any) -> SessionHandles:
            owner = context.request.state.caller.owner
            return self._handles.setdefault(owner, SessionHandles(toolkits, has_own=False))

        def note(spec: ToolSpec, arguments: str, result: ToolResult, seconds: float) -> None:
            outcome = "failed" if result.is_error else "ran"
            metrics.tool_called(spec.name.partition(".")[0], outcome)
            digest = hashlib.sha256(arguments.encode(errors="replace")).hexdigest()
            audit.info("mcp %s %s %.3f s arguments=sha256:%s origin=%s",
                       spec.name, outcome, seconds, digest, ascii(result.origin))  # fmt: skip

        self._manager = StreamableHTTPSessionManager(
            tool_server(toolkits, handles_of, has_own=False, observe=note),
            stateless=True,
            security_settings=self._security,
        )
        try:
            async with self._manager.run():
                yield
        finally:
            for handles in self._handles.values():
                await handles.close()

    def _allow(self, name: str) -> None:
        """Allow the library the hosts that the guard accepts: with any port, or a given one."""
        is_ipv6 = name.count(":") > 1 and not name.startswith("[")
        found = parse_authority(f"[{name.partition('%')[0]}]" if is_ipv6 else name)
        if found is None:  # the path of a unix socket; there a client says localhost
            return
        host = f"[{found.host}]" if ":" in found.host else found.host
        for each in (host, f"{host}:*") if found.port is None else (f"{host}:{found.port}",):
            if each not in self._security.allowed_hosts:
                self._security.allowed_hosts.append(each)
                self._security.allowed_origins += [f"http://{each}", f"https://{each}"]


class _LibraryResponse(Response):
    """A response written by the MCP library."""

    def __init__(self, manager: StreamableHTTPSessionManager) -> None:
        super().__init__()
        self._manager = manager

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI. The library's Connection header is dropped."""

        async def pass_on(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [each for each in message["headers"] if each[0].lower() != b"connection"]
                message = {**message, "headers": headers}
            await send(message)

        await self._manager.handle_request(scope, receive, pass_on)
