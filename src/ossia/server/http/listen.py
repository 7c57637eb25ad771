"""Runs uvicorn as this project wants it: where it listens, how patient it is, how it ends.

It does not know what the application does; the guard around it answers while the server drains.
"""

import asyncio
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from socket import socket
from types import FrameType
from typing import Any, cast

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from ossia.server.http.connection import Connection, ConnectionLimits
from ossia.server.http.drain import Drain
from ossia.server.sockets import Place, listen, names, refuse_keyless, release

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_CUT_SECONDS = 1
"""From cancelling what still runs after the last call to the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListeningOptions:
    """Where to listen, whom to believe, and how patient to be."""

    host: str | None = None
    """A name or an address; None: 127.0.0.1 and, where there is one, ::1."""
    port: int = 8000
    """0: any that is free."""
    unix_socket: Path | None = None
    """In place of host and port: a socket in a file that only its owner may use."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses whose X-Forwarded-For says who the client is; none unless told."""
    limits: ConnectionLimits = field(default_factory=ConnectionLimits)

    @property
    def place(self) -> Place:
        """Where to listen."""
        return Place(host=self.host, port=self.port, unix_socket=self.unix_socket)


class Listening:
    """The server's open door. Connections wait in it from the moment it is made."""

    def __init__(self, options: ListeningOptions, *, keyed: bool) -> None:
        """Take the address and the port.

        Args:
            options: which.
            keyed: whether an API key is asked for.

        Raises:
            RequestError: they are taken or not ours; or others can reach them and there is no key.
        """
        refuse_keyless(options.place, keyed=keyed)
        self._options = options
        self._sockets = listen(options.place)
        self.addresses = names(self._sockets)
        """What to type to reach the server."""
        self.port: int | None = None if options.unix_socket else self._sockets[0].getsockname()[1]
        """The port that was taken; None for a unix socket."""

    def run(self, app: ASGIApp, drain: Drain, *, started: Callable[[], None] | None = None) -> None:
        """Serve until a signal, and end as `serve` does. Call it in the main thread.

        The first SIGINT or SIGTERM begins the drain; the second ends it at once.
        """
        asyncio.run(self.serve(app, drain, started=started))

    async def serve(
        self, app: ASGIApp, drain: Drain, *, started: Callable[[], None] | None = None
    ) -> None:
        """Serve until the drain is over, then close the door.

        Args:
            app: guarded.
            drain: begin it to end the server: what runs may finish within its grace.
            started: called once requests are answered.

        Raises:
            Exception: whatever the application raised while it started.
        """
        watched = _Watched(app)
        limits = self._options.limits
        config = uvicorn.Config(
            watched,
            http=cast(Any, partial(Connection, limits=limits)),
            ws="none",
            loop="asyncio",
            interface="asgi3",
            lifespan="on",
            log_config=None,
            log_level="critical",  # its lines could quote a request; the guard writes ours
            access_log=False,
            server_header=False,
            proxy_headers=bool(self._options.trusted_proxies),
            forwarded_allow_ips=list(self._options.trusted_proxies),
            timeout_keep_alive=math.ceil(limits.idle_seconds),
            timeout_graceful_shutdown=_CUT_SECONDS,
        )
        try:
            await _Server(config, drain, started).serve(self._sockets)
        except SystemExit:
            raise watched.failure or RuntimeError("the application did not start") from None
        finally:
            self.close()

    def close(self) -> None:
        """Close the door; needed only if it was never served."""
        release(self._sockets, self._options.unix_socket)
        self._sockets = []


class _Server(uvicorn.Server):
    """uvicorn's server, ended by a drain in place of a signal."""

    def __init__(
        self, config: uvicorn.Config, drain: Drain, started: Callable[[], None] | None
    ) -> None:
        super().__init__(config)
        self._drain = drain
        self._on_start = started

    async def startup(self, sockets: list[socket] | None = None) -> None:
        await super().startup(sockets)
        if self._on_start is not None:
            self._on_start()

    async def on_tick(self, counter: int) -> bool:
        ended = await super().on_tick(counter)
        return ended or self._drain.over(time.monotonic())

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        if self.force_exit:
            self._drain.last_call.set()
            for connection in list(self.server_state.connections):
                connection.transport.abort()
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._drain.begun:
            self.should_exit = self.force_exit = True
        self._drain.begin(time.monotonic())

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Heed signals while serving; unlike uvicorn, die of none of them afterwards."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {each: signal.signal(each, self.handle_exit) for each in _SIGNALS}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)


class _Watched:
    """Keeps what an application raised while it started, which uvicorn would only log."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.failure: BaseException | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        except BaseException as error:
            if scope["type"] == "lifespan":
                self.failure = error
            raise
