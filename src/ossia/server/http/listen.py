"""Runs uvicorn: sockets, timeouts, graceful shutdown.

The guard around the application answers during shutdown.
"""

import asyncio
import errno
import ipaddress
import math
import os
import signal
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, cast

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from ossia.errors import RequestError
from ossia.server.http.connection import ConnectionLimits, HttpConnection
from ossia.server.http.drain import Drain

_BACKLOG = 512
_ATTEMPTS = 20
_ABSENT = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
"""This computer lacks the address, or its whole family."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenAddress:
    """The address to listen on."""

    host: str | None = None
    """A name or address; None: 127.0.0.1 and, if available, ::1."""
    port: int = 8000
    """0: any free port."""
    unix_socket: Path | None = None
    """Instead of host and port: a unix socket that only its owner may use."""


def refuse_keyless(place: ListenAddress, *, keyed: bool) -> None:
    """Refuse an address that other computers can reach when no API key is required.

    Raises:
        RequestError: it is such an address, or cannot be resolved.
    """
    if keyed or place.unix_socket is not None:
        return
    for _, address in _addresses(place):
        if not ipaddress.ip_address(address[0].partition("%")[0]).is_loopback:
            raise RequestError(
                f"--host {place.host} can be reached from other computers, and there is no API "
                "key; make one: ossia keys add NAME, or leave --host out"
            )


def open_sockets(place: ListenAddress) -> list[socket.socket]:
    """Bind and listen; connections queue from here on.

    Raises:
        RequestError: the address is in use, forbidden, or not of this computer.
    """
    if place.unix_socket is not None:
        return [_listen_in_file(place.unix_socket)]
    if not 0 <= place.port <= 65535:
        raise RequestError(f"--port {place.port} is not a port; expected 0 to 65535")
    for _ in range(_ATTEMPTS - 1):
        try:
            return _listen_at(place)
        except RequestError:
            if place.port != 0:  # else a port free at one address may be in use at the other
                raise
    return _listen_at(place)


def urls_of(sockets: list[socket.socket]) -> tuple[str, ...]:
    """Return the URLs of the sockets."""
    found = []
    for each in sockets:
        address = each.getsockname()
        if each.family == socket.AF_UNIX:
            found.append(f"unix:{address}")
        else:
            host = f"[{address[0]}]" if each.family == socket.AF_INET6 else address[0]
            found.append(f"http://{host}:{address[1]}")
    return tuple(found)


def close_sockets(sockets: list[socket.socket], file: Path | None = None) -> None:
    """Close the sockets, and remove the file of a unix socket."""
    for each in sockets:
        each.close()
    if sockets and file is not None:
        file.unlink(missing_ok=True)


def _addresses(place: ListenAddress) -> list[tuple[socket.AddressFamily, tuple[Any, ...]]]:
    if place.host is None or place.host == "localhost":
        return [
            (socket.AF_INET, ("127.0.0.1", place.port)),
            (socket.AF_INET6, ("::1", place.port)),
        ]
    host = place.host.removeprefix("[").removesuffix("]")
    try:
        found = socket.getaddrinfo(host, place.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise RequestError(
            f"--host {place.host} is not an address of this computer; expected one like 127.0.0.1"
        ) from error
    return [(family, address) for family, _, _, _, address in found]


def _listen_at(place: ListenAddress) -> list[socket.socket]:
    """Open sockets at every address of the place, all with one port."""
    is_default = place.host is None or place.host == "localhost"
    sockets: list[socket.socket] = []
    port = place.port
    for family, address in _addresses(place):
        try:
            each = _bind(family, (address[0], port, *address[2:]))
        except OSError as error:
            if is_default and error.errno in _ABSENT:
                continue
            close_sockets(sockets)
            raise _refusal(address[0], port, error) from error
        sockets.append(each)
        port = each.getsockname()[1]
    if not sockets:
        raise RequestError("this computer has no loopback address; give one by --host")
    return sockets


def _bind(family: socket.AddressFamily, address: tuple[Any, ...]) -> socket.socket:
    each = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # for TCP_NODELAY
    try:
        each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:  # IPv4 has its own socket
            each.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        each.bind(address)
        each.listen(_BACKLOG)
    except OSError:
        each.close()
        raise
    return each


def _refusal(host: str, port: int, error: OSError) -> RequestError:
    match error.errno:
        case errno.EADDRINUSE:
            return RequestError(
                f"port {port} of {host} is in use; stop what listens there, "
                f"or choose another: --port {port % 65535 + 1}"
            )
        case errno.EACCES | errno.EPERM:
            return RequestError(
                f"this user may not listen on port {port}; choose one from 1024 on: --port 8000"
            )
        case errno.EADDRNOTAVAIL:
            return RequestError(f"this computer has no address {host}; give one it has, by --host")
        case _:
            return RequestError(f"port {port} of {host} cannot be listened on: {error.strerror}")


def _listen_in_file(path: Path) -> socket.socket:
    _clear(path)
    each = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)  # the file is private from its first moment
    try:
        each.bind(str(path))
        each.listen(_BACKLOG)
    except OSError as error:
        each.close()
        raise RequestError(
            f"{path} cannot be listened on: {error.strerror or error}; choose another file"
        ) from error
    finally:
        os.umask(before)
    return each


def _clear(path: Path) -> None:
    """Remove a dead server's socket file; refuse to touch anything else."""
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return
    if not stat.S_ISSOCK(mode):
        raise RequestError(f"{path} is not a socket; choose a file that does not exist")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            os.unlink(path)
            return
    raise RequestError(f"{path} is in use by another server; stop it, or choose another file")


_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_CUT_SECONDS = 1
"""Time for cancelled requests to end after the last call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListeningOptions:
    """Address, trusted proxies and timeouts."""

    host: str | None = None
    """A name or address; None: 127.0.0.1 and, if available, ::1."""
    port: int = 8000
    """0: any free port."""
    unix_socket: Path | None = None
    """Instead of host and port: a unix socket that only its owner may use."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses whose X-Forwarded-For is trusted; by default: none."""
    limits: ConnectionLimits = field(default_factory=ConnectionLimits)

    @property
    def place(self) -> ListenAddress:
        """The address to listen on."""
        return ListenAddress(host=self.host, port=self.port, unix_socket=self.unix_socket)


class Listening:
    """The listening sockets. Connections queue from the moment it is created."""

    def __init__(self, options: ListeningOptions, *, keyed: bool) -> None:
        """Bind the address and port.

        Args:
            options: address and timeouts.
            keyed: whether an API key is required.

        Raises:
            RequestError: the address is unavailable, or public while no key is required.
        """
        refuse_keyless(options.place, keyed=keyed)
        self._options = options
        self._sockets = open_sockets(options.place)
        self.addresses = urls_of(self._sockets)
        """URLs of the server."""
        self.port: int | None = None if options.unix_socket else self._sockets[0].getsockname()[1]
        """The bound port; None for a unix socket."""

    def run(self, app: ASGIApp, drain: Drain, *, started: Callable[[], None] | None = None) -> None:
        """Serve until a signal, then shut down as `serve` does. Call it in the main thread.

        The first SIGINT or SIGTERM begins the drain; the second ends it at once.
        """
        asyncio.run(self.serve(app, drain, started=started))

    async def serve(
        self, app: ASGIApp, drain: Drain, *, started: Callable[[], None] | None = None
    ) -> None:
        """Serve until the drain is over, then close the sockets.

        Args:
            app: wrapped by the guard.
            drain: begin it to stop the server gracefully.
            started: called once requests are served.

        Raises:
            Exception: whatever the application raised while it started.
        """
        watched = _Watched(app)
        limits = self._options.limits
        config = uvicorn.Config(
            watched,
            http=cast(Any, partial(HttpConnection, limits=limits)),
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
        """Close the sockets; needed only if `serve` never ran."""
        close_sockets(self._sockets, self._options.unix_socket)
        self._sockets = []


class _Server(uvicorn.Server):
    """uvicorn's server, stopped by a drain instead of a signal."""

    def __init__(
        self, config: uvicorn.Config, drain: Drain, started: Callable[[], None] | None
    ) -> None:
        super().__init__(config)
        self._drain = drain
        self._on_start = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self._on_start is not None:
            self._on_start()

    async def on_tick(self, counter: int) -> bool:
        ended = await super().on_tick(counter)
        return ended or self._drain.over(time.monotonic())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
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
        """Handle signals while serving; unlike uvicorn, do not raise them again afterwards."""
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
    """Captures an exception of the application's startup, which uvicorn only logs."""

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
