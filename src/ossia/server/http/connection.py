"""uvicorn's HTTP/1.1 connection with timeouts and size limits against slow clients.

What can be refused after a request is read, the guard refuses.
"""

import asyncio
import secrets
from dataclasses import dataclass
from enum import Enum, auto
from http import HTTPStatus
from typing import Any

import httptools
from uvicorn import Config
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from ossia.server.api.errors import HttpError, Unavailable, WrongForm

_LAST_SECONDS = 5.0
"""Time for a closed connection to flush its output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """Timeouts of a client, and the number of connections."""

    max_connections: int = 512
    idle_seconds: float = 60.0
    """Idle time between requests, and before the first."""
    head_seconds: float = 10.0
    """From the first byte of a request to the end of its headers."""
    body_seconds: float = 35.0
    """For the body; more than the guard allows, so that the guard answers first."""
    stall_seconds: float = 60.0
    """While the client reads nothing of the response."""
    max_head_bytes: int = 32 << 10
    """Size of headers; more than the guard allows, so that the guard answers first."""


class _Reads(Enum):
    """What the next byte belongs to."""

    NOTHING = auto()
    HEAD = auto()
    BODY = auto()


class HttpConnection(HttpToolsProtocol):
    """A client's connection."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        limits: ConnectionLimits,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._limits = limits
        self._reads = _Reads.NOTHING
        self._bytes = 0
        """Bytes of the headers so far; or since the body last grew."""
        self._turn: RequestResponseCycle | None = None
        """The request being answered; pipelined ones may have been read."""
        self._replays = False
        """Whether headers are being parsed again by a new parser."""
        self._timer: asyncio.TimerHandle | None = None
        self._stall: asyncio.TimerHandle | None = None
        self.waits_since = self.loop.time()

    @property
    def answers(self) -> bool:
        """Whether a request has been read and its response is incomplete."""
        if self._turn is None or self._turn.response_complete:
            return False
        return self._turn is not self.cycle or self._reads is not _Reads.BODY

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Register the connection; if there are too many, close the one idle longest."""
        if len(self.connections) >= self._limits.max_connections:
            waiting = [each for each in self.connections if isinstance(each, HttpConnection)]
            idle = min(
                (each for each in waiting if not each.answers),
                key=lambda each: each.waits_since,
                default=None,
            )
            if idle is None:
                self.transport = transport
                self._refuse(_full())
                return
            idle._refuse(_full())
        super().connection_made(transport)
        self._expect(_Reads.NOTHING, self._limits.idle_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """Unregister the connection."""
        self._disarm()
        self._writable()
        self._notify_disconnect()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse data, and limit bytes that only fill memory."""
        if self._reads is _Reads.NOTHING:
            self._begin_head()
        self._bytes += len(data)
        self._unset_keepalive_if_required()
        self._parse(data)
        if self._bytes <= self._limits.max_head_bytes or self.transport.is_closing():
            return
        if self._reads is _Reads.HEAD:
            self._refuse(WrongForm(431, "headers_too_large", "the headers are too large"))
        else:
            self._refuse(WrongForm(400, "invalid_body", "the body is not what HTTP allows"))

    def on_message_begin(self) -> None:
        """Called at the first byte of a request, which may follow another at once."""
        if not self._replays:
            self._begin_head()
            super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called for every header; trailers are dropped, since no check has seen them."""
        if self._reads is _Reads.HEAD:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Called at the end of the headers; starts the response."""
        if self._replays:
            return
        if not self.url.startswith(b"/"):  # a URL that names a host of its own, or `*`
            raise httptools.HttpParserInvalidURLError("the target must be a path")
        super().on_headers_complete()
        self._bytes = 0
        self._expect(_Reads.BODY, self._limits.body_seconds)

    def on_body(self, body: bytes) -> None:
        """Called for every piece of the body."""
        self._bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Called at the end of a request, or of its head if it asks for an upgrade."""
        if self.parser.should_upgrade():
            return
        self._reads = _Reads.NOTHING
        self._bytes = 0
        self._disarm()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Called when a response is written, though perhaps not yet sent."""
        super().on_response_complete()
        self.waits_since = self.loop.time()
        if self.transport.is_closing():
            self.loop.call_later(self._limits.stall_seconds, self.transport.abort)

    def pause_writing(self) -> None:
        """Called when the write buffer is full."""
        super().pause_writing()
        self._stall = self.loop.call_later(self._limits.stall_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Called when the write buffer has drained."""
        self._writable()
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        """Called after a while without a next request."""
        self._close()

    def _parse(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._ignore_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self._refuse(WrongForm(400, "invalid_http", "this is not HTTP/1.1 as it is read here"))

    def _ignore_upgrade(self, rest: bytes) -> None:
        """Ignore a request to upgrade; some clients (Java's) send one each time.

        The parser takes the body for the new protocol's bytes, so a new parser reads it.
        """
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        framing = (b"content-length", b"transfer-encoding")
        lines = [b"%b: %b\r\n" % each for each in self.headers if each[0] in framing]
        self._replays = True
        self._parse(b"POST / HTTP/1.1\r\n" + b"".join(lines) + b"\r\n")
        self._replays = False
        self._parse(rest)

    def _begin_head(self) -> None:
        self._bytes = 0
        self._expect(_Reads.HEAD, self._limits.head_seconds)

    def _expect(self, what: _Reads, seconds: float) -> None:
        """Start the timeout for what is read next."""
        self._reads = what
        self.waits_since = self.loop.time()
        self._disarm()
        self._timer = self.loop.call_later(seconds, self._late, seconds)

    def _late(self, seconds: float) -> None:
        if self.answers or self.flow.read_paused:  # the delay is the server's
            self._expect(self._reads, seconds)
        else:
            self._close()

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _writable(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    def _notify_disconnect(self) -> None:
        """Notify the request being answered of a disconnect; uvicorn notifies the one read last."""
        if self._turn is not None and not self._turn.response_complete:
            self._turn.disconnected = True
            self._turn.message_event.set()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._turn = cycle
        super()._start_asgi_task(cycle, app)

    def _refuse(self, error: HttpError) -> None:
        """Send an error unless a response has begun, and close."""
        if self._turn is None or self._turn.response_complete or not self._turn.response_started:
            self.transport.write(_written(error))
        self._close()

    def _close(self) -> None:
        self.connections.discard(self)
        self._disarm()
        self._notify_disconnect()
        self.transport.close()
        self.loop.call_later(_LAST_SECONDS, self.transport.abort)


def _full() -> Unavailable:
    return Unavailable(
        "there are too many connections; try again soon", code="too_many_connections"
    )


def _written(error: HttpError) -> bytes:
    body = error.body()
    headers = {
        "content-type": "application/json",
        "content-length": str(len(body)),
        "x-request-id": f"req_{secrets.token_hex(16)}",
        "connection": "close",
        **error.headers,
    }
    lines = [f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body
