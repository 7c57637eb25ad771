"""The way to one MCP server, over stdio or HTTP: made when needed, made again when dead.

Uses the protocol library and bounds every message; who may call a tool is decided elsewhere.
"""

import asyncio
import contextlib
import logging
import math
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import anyio
import httpx2  # noqa: TID253 - loaded where MCP servers are configured, and nowhere else
import mcp_types
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp import Client, MCPError  # noqa: TID253 - loaded where MCP servers are configured
from mcp.client.stdio import get_default_environment  # noqa: TID253 - with the extra only
from mcp.client.streamable_http import streamable_http_client  # noqa: TID253 - the same
from mcp.shared.message import SessionMessage  # noqa: TID253 - the same
from mcp_types import CallToolResult

from ossia import __version__
from ossia.processes import end_group, spawn_async
from ossia.tools.mcp.listing import ServerTool, clean_terminal_text
from ossia.tools.mcp.settings import McpServer, filled

CONNECT_SECONDS = 20.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 60.0
_CLOSE_SECONDS = 10.0
_MAX_PAGES = 20
_MAX_LISTED = 1000


class ServerUnreachable(Exception):
    """The server is unreachable; the message says why, and when to try again."""

    def __init__(self, message: str, words: str = "") -> None:
        """Describe the failure.

        Args:
            message: for the model and whoever reads with it.
            words: the server's last ones, for the operator alone: they may hold anything.
        """
        super().__init__(message)
        self.words = words


class ServerRefused(Exception):
    """The server refused the request, or its answer is invalid."""


class McpConnection:
    """One server. Its sampling, elicitation and roots requests are refused by the library."""

    def __init__(
        self,
        server: McpServer,
        environ: Mapping[str, str],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Configure a server; nothing is started yet.

        Raises:
            RequestError: a variable that its settings name is not set.
        """
        self.server = server
        self.instructions: str | None = None
        self.is_stale = True
        """Whether to list the tools again: after each connect, and when notified."""
        self._env = filled(server.env, environ, server=server.name)
        self._headers = filled(server.headers, environ, server=server.name)
        self._clock = clock
        self._connecting = asyncio.Lock()
        self._client: Client | None = None
        self._owner: asyncio.Task[None] | None = None
        self._leave = asyncio.Event()
        self._words = StderrTail()
        self._failures = 0
        self._next_try = -math.inf
        self._closed = False

    async def listed(self) -> list[ServerTool]:
        """List the server's tools.

        Raises:
            Unreachable: it is dead.
            Refused: it answered nonsense.
        """
        client = await self._connected()
        found: list[ServerTool] = []
        cursor = None
        self.is_stale = False
        with self._request_errors():
            async with asyncio.timeout(self.server.seconds):
                for _ in range(_MAX_PAGES):
                    page = await client.list_tools(cursor=cursor)
                    found += map(_listed, page.tools)
                    cursor = page.next_cursor
                    if cursor is None or len(found) > _MAX_LISTED:
                        break
        return found

    async def call(self, tool: str, arguments: dict[str, Any]) -> CallToolResult:
        """Call a tool by the server's name for it.

        Raises:
            Unreachable: it is dead; whether the call had an effect is not known.
            Refused: it answered that it will not, nonsense, or not in time.
        """
        client = await self._connected()
        with self._request_errors():
            async with asyncio.timeout(self.server.seconds):
                return await client.call_tool(tool, arguments)
        raise AssertionError  # a request error is raised

    async def ready(self) -> None:
        """Connect if need be.

        Raises:
            Unreachable: it is dead.
        """
        await self._connected()

    async def close(self) -> None:
        """Close the connection; idempotent."""
        self._closed = True
        await self._drop()

    @contextlib.contextmanager
    def _request_errors(self) -> Any:
        """Translate the errors of a request into two kinds."""
        name = self.server.name
        try:
            yield
        except TimeoutError:
            limit = f"{self.server.seconds:g} s"
            raise ServerRefused(f"MCP server {name} did not answer within {limit}") from None
        except MCPError as error:
            if self._is_dead(error):
                self._leave.set()
                raise self._unreachable(str(error)) from None
            raise ServerRefused(f"MCP server {name}: {error}") from None
        except Exception as error:  # untrusted answers may cause any exception: report it
            raise ServerRefused(f"MCP server {name} answered nonsense: {_kind(error)}") from None

    def _is_dead(self, error: MCPError) -> bool:
        is_gone = error.code == mcp_types.CONNECTION_CLOSED and self._words.ended is not None
        is_cut = error.code == mcp_types.CONNECTION_CLOSED and self.server.url is not None
        return is_gone or is_cut or str(error) == "Session terminated"

    async def _connected(self) -> Client:
        async with self._connecting:
            is_alive = self._owner is not None and not self._owner.done()
            if is_alive and not self._leave.is_set() and self._words.ended is None:
                assert self._client is not None
                return self._client
            await self._drop()
            if self._closed:
                raise ServerUnreachable(
                    f"the connection to MCP server {self.server.name} is closed"
                )
            if (pause := self._next_try - self._clock()) > 0:
                raise self._unreachable("it did not start", f"; it is tried again in {pause:.0f} s")
            return await self._connect()

    async def _connect(self) -> Client:
        self._leave, self._words = asyncio.Event(), StderrTail()
        ready: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
        self._owner = asyncio.create_task(self._own(ready))
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                client = await ready
        except (ServerUnreachable, TimeoutError) as error:
            late = f"it did not answer within {CONNECT_SECONDS:g} s"
            unreachable = self._unreachable(str(error) or late)
            await self._drop()
            self._failures += 1
            pause = FIRST_PAUSE_SECONDS * 2 ** min(self._failures - 1, 10)
            self._next_try = self._clock() + min(LONGEST_PAUSE_SECONDS, pause)
            raise unreachable from None
        self._failures = 0
        self._client, self.instructions, self.is_stale = client, client.instructions, True
        return client

    async def _own(self, ready: asyncio.Future[Client]) -> None:
        """Hold the connection open; entering and leaving it must be one task's work."""
        client = Client(
            self._transport(),
            cache=None,
            client_info=mcp_types.Implementation(name="ossia", version=__version__),
            message_handler=self._heard,
        )
        try:
            async with client:
                ready.set_result(client)
                await self._leave.wait()
        except Exception as error:  # of program, network and protocol alike: it is over
            self._words.ended = self._words.ended or _kind(error)
            if not ready.done():
                ready.set_exception(ServerUnreachable(_kind(error)))

    def _transport(self) -> AbstractAsyncContextManager[Any]:
        server = self.server
        if server.url is not None:
            return http_transport(server.url, headers=self._headers)
        return stdio_transport(server.command, env=self._env, cwd=server.cwd, words=self._words)

    async def _heard(self, message: object) -> None:
        """Handle a notification; only a change of the tools matters."""
        if isinstance(message, mcp_types.ToolListChangedNotification):
            self.is_stale = True

    async def _drop(self) -> None:
        owner, self._owner = self._owner, None
        client, self._client = self._client, None
        self._leave.set()
        if owner is None:
            return
        if client is None:
            owner.cancel()  # it is still connecting
        done, _ = await asyncio.wait((owner,), timeout=_CLOSE_SECONDS)
        if not done:
            owner.cancel()
            await asyncio.wait((owner,), timeout=_CLOSE_SECONDS)

    def _unreachable(self, why: str, rest: str = "") -> ServerUnreachable:
        """The error for a dead server: the first cause, and the end of its stderr."""
        ended = self._words.ended or why
        message = f"MCP server {self.server.name} is gone: {ended}{rest}"
        return ServerUnreachable(message, clean_terminal_text(self._words.text))


def _listed(tool: mcp_types.Tool) -> ServerTool:
    return ServerTool(
        name=tool.name,
        description=tool.description or "",
        schema=tool.input_schema,
        is_read_only=bool(tool.annotations and tool.annotations.read_only_hint),
    )


def _kind(error: BaseException) -> str:
    """An error's first line, without our own paths; of a group, its first error's."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def quiet_library() -> None:
    """Stop the library from logging servers' messages: they may quote users."""
    logging.getLogger("mcp").setLevel(logging.CRITICAL + 1)


_SECONDS = 30.0
_QUIET_SECONDS = 300.0
"""Seconds that an open stream may stay silent."""


@contextlib.asynccontextmanager
async def http_transport(url: str, *, headers: Mapping[str, str]) -> AsyncIterator[Any]:
    """Speak to a server.

    Args:
        url: the only address that is spoken to; redirects are followed within its origin alone.
        headers: sent with every request.

    Yields:
        The two streams that `mcp.Client` wants.
    """
    async with (
        httpx2.AsyncClient(
            headers={"accept-encoding": "identity", **headers},
            timeout=httpx2.Timeout(_SECONDS, read=_QUIET_SECONDS),
            transport=_Bounded(trust_env=False),
            trust_env=False,
            follow_redirects=False,
        ) as client,
        streamable_http_client(
            url, http_client=client, max_sse_event_size=MAX_MESSAGE_BYTES
        ) as streams,
    ):
        yield streams


class _Bounded(httpx2.AsyncHTTPTransport):
    """HTTP answers of bounded size, not decompressed."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await super().handle_async_request(request)
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            await response.aclose()
            raise httpx2.UnsupportedProtocol(
                "the server sent a packed answer that was not asked for"
            )
        response.headers.pop("set-cookie", None)
        is_stream = response.headers.get("content-type", "").startswith("text/event-stream")
        if not is_stream:  # the events of a stream are bounded one by one
            assert isinstance(response.stream, httpx2.AsyncByteStream)
            response.stream = _Counted(response.stream)
        return response


class _Counted(httpx2.AsyncByteStream):
    """A body that raises an error when it is too long."""

    def __init__(self, body: httpx2.AsyncByteStream) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        num_bytes = 0
        async for chunk in self._body:
            num_bytes += len(chunk)
            if num_bytes > MAX_MESSAGE_BYTES:
                raise httpx2.StreamError(f"the answer has more than {MAX_MESSAGE_BYTES} bytes")
            yield chunk

    async def aclose(self) -> None:
        await self._body.aclose()


MAX_MESSAGE_BYTES = 8 << 20
GRACE_SECONDS = 2.0
"""Seconds from the end of stdin to SIGTERM, and from there to SIGKILL."""
_TAIL_BYTES = 2000

Incoming = MemoryObjectReceiveStream[SessionMessage | Exception]
Outgoing = MemoryObjectSendStream[SessionMessage]


class StderrTail:
    """The end of a server's stderr, and why the connection ended."""

    def __init__(self) -> None:
        """Start empty."""
        self.ended: str | None = None
        self._tail = b""

    def add(self, chunk: bytes) -> None:
        """Append, and keep the end."""
        self._tail = (self._tail + chunk)[-_TAIL_BYTES:]

    @property
    def text(self) -> str:
        """The last line that is not blank."""
        lines = self._tail.decode(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")


@contextlib.asynccontextmanager
async def stdio_transport(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: str | None,
    words: StderrTail,
) -> AsyncIterator[tuple[Incoming, Outgoing]]:
    """Start a server and connect to it; at the end its whole process group is ended.

    Args:
        command: program and arguments; no shell reads them.
        env: variables besides PATH, HOME and the like; no others are inherited.
        cwd: where it runs; our own folder if None.
        words: collects its stderr, and why it ended.

    Raises:
        OSError: it cannot be started.
    """
    process = await spawn_async(
        command,
        env={**get_default_environment(), **env},
        cwd=cwd,
        max_line_bytes=MAX_MESSAGE_BYTES,
    )
    heard, incoming = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    outgoing, outbox = anyio.create_memory_object_stream[SessionMessage](0)
    async with heard, incoming, outgoing, outbox, anyio.create_task_group() as group:
        group.start_soon(_read, process, heard, words)
        group.start_soon(_write, process, outbox)
        group.start_soon(_keep_tail, process, words)
        try:
            yield incoming, outgoing
        finally:
            with anyio.CancelScope(shield=True):
                await end_group(process, GRACE_SECONDS)
            group.cancel_scope.cancel()


async def _read(
    process: Process, heard: MemoryObjectSendStream[SessionMessage | Exception], words: StderrTail
) -> None:
    assert process.stdout is not None
    async with heard:
        while True:
            try:
                line = await process.stdout.readuntil(b"\n")
            except (asyncio.IncompleteReadError, ConnectionError):
                words.ended = "it ended"
                return
            except asyncio.LimitOverrunError:
                words.ended = f"it sent a message of more than {MAX_MESSAGE_BYTES} bytes"
                return
            message: SessionMessage | Exception
            try:
                parsed = mcp_types.jsonrpc_message_adapter.validate_json(line, by_name=False)
                message = SessionMessage(parsed)
            except ValueError as error:
                message = error
            try:
                await heard.send(message)
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                return


async def _write(process: Process, outbox: MemoryObjectReceiveStream[SessionMessage]) -> None:
    assert process.stdin is not None
    async with outbox:
        async for each in outbox:
            line = each.message.model_dump_json(by_alias=True, exclude_unset=True)
            try:
                process.stdin.write(f"{line}\n".encode())
                await process.stdin.drain()
            except (ConnectionError, RuntimeError):
                return  # the reading side tells of its end


async def _keep_tail(process: Process, words: StderrTail) -> None:
    assert process.stderr is not None
    while chunk := await process.stderr.read(4096):
        words.add(chunk)
