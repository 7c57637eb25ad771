"""An MCP server as a child process: a line out, a line in, with a bound on every line.

Knows processes and JSON-RPC messages; what they mean is the protocol library's business.
"""

import asyncio
import contextlib
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Mapping, Sequence

import anyio
import mcp_types
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.client.stdio import get_default_environment  # noqa: TID253 - with the extra only
from mcp.shared.message import SessionMessage  # noqa: TID253 - the same

from ossia.processes import end_group, spawn_async

MAX_MESSAGE_BYTES = 8 << 20
GRACE_SECONDS = 2.0
"""From the end of its input until a server is told to go, and from there until it is made to."""
_TAIL_BYTES = 2000

Incoming = MemoryObjectReceiveStream[SessionMessage | Exception]
Outgoing = MemoryObjectSendStream[SessionMessage]


class LastWords:
    """The end of what a server wrote to stderr, and why it is not heard any more."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.ended: str | None = None
        self._tail = b""

    def add(self, chunk: bytes) -> None:
        """Keep the end."""
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
    words: LastWords,
) -> AsyncIterator[tuple[Incoming, Outgoing]]:
    """Start a server and speak to it; at the end it and all it started is gone.

    Args:
        command: program and arguments; no shell reads them.
        env: variables beside PATH, HOME and the like; nothing else of ours is passed on.
        cwd: where it runs; our own folder if None.
        words: told what it says on stderr, and when it ends.

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
    outgoing, said = anyio.create_memory_object_stream[SessionMessage](0)
    async with heard, incoming, outgoing, said, anyio.create_task_group() as group:
        group.start_soon(_read, process, heard, words)
        group.start_soon(_write, process, said)
        group.start_soon(_keep_tail, process, words)
        try:
            yield incoming, outgoing
        finally:
            with anyio.CancelScope(shield=True):
                await end_group(process, GRACE_SECONDS)
            group.cancel_scope.cancel()


async def _read(
    process: Process, heard: MemoryObjectSendStream[SessionMessage | Exception], words: LastWords
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


async def _write(process: Process, said: MemoryObjectReceiveStream[SessionMessage]) -> None:
    assert process.stdin is not None
    async with said:
        async for each in said:
            line = each.message.model_dump_json(by_alias=True, exclude_unset=True)
            try:
                process.stdin.write(f"{line}\n".encode())
                await process.stdin.drain()
            except (ConnectionError, RuntimeError):
                return  # the reading side tells of its end


async def _keep_tail(process: Process, words: LastWords) -> None:
    assert process.stderr is not None
    while chunk := await process.stderr.read(4096):
        words.add(chunk)
