"""Where the server listens: loopback addresses, a given address, or a private unix socket.

It knows no HTTP. Beyond loopback it listens only where a key is asked for.
"""

import errno
import ipaddress
import os
import socket
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ossia.errors import RequestError

_BACKLOG = 512
_ATTEMPTS = 20
_ABSENT = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
"""This computer has no such address, or no such kind of address at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where to listen."""

    host: str | None = None
    """A name or an address; None: 127.0.0.1 and, where there is one, ::1."""
    port: int = 8000
    """0: any that is free."""
    unix_socket: Path | None = None
    """In place of host and port: a socket in a file that only its owner may use."""


def refuse_keyless(place: Place, *, keyed: bool) -> None:
    """Refuse an address that others can reach while no key is asked for.

    Raises:
        RequestError: it is such an address, or cannot be found at all.
    """
    if keyed or place.unix_socket is not None:
        return
    for _, address in _addresses(place):
        if not ipaddress.ip_address(address[0].partition("%")[0]).is_loopback:
            raise RequestError(
                f"--host {place.host} can be reached from other computers, and there is no API "
                "key; make one: ossia keys add NAME, or leave --host out"
            )


def listen(place: Place) -> list[socket.socket]:
    """Take the place; connections wait from here on.

    Raises:
        RequestError: it is taken, forbidden, or not of this computer.
    """
    if place.unix_socket is not None:
        return [_listen_in_file(place.unix_socket)]
    if not 0 <= place.port <= 65535:
        raise RequestError(f"--port {place.port} is no port; expected 0 to 65535")
    for _ in range(_ATTEMPTS - 1):
        try:
            return _listen_at(place)
        except RequestError:
            if place.port != 0:  # else a port that is free at one address is taken at the other
                raise
    return _listen_at(place)


def names(sockets: list[socket.socket]) -> tuple[str, ...]:
    """What to type to reach them."""
    found = []
    for each in sockets:
        address = each.getsockname()
        if each.family == socket.AF_UNIX:
            found.append(f"unix:{address}")
        else:
            host = f"[{address[0]}]" if each.family == socket.AF_INET6 else address[0]
            found.append(f"http://{host}:{address[1]}")
    return tuple(found)


def release(sockets: list[socket.socket], file: Path | None = None) -> None:
    """Close them, and remove the file of a unix socket."""
    for each in sockets:
        each.close()
    if sockets and file is not None:
        file.unlink(missing_ok=True)


def _addresses(place: Place) -> list[tuple[socket.AddressFamily, tuple[Any, ...]]]:
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
            f"--host {place.host} is no address of this computer; expected one like 127.0.0.1"
        ) from error
    return [(family, address) for family, _, _, _, address in found]


def _listen_at(place: Place) -> list[socket.socket]:
    """Sockets at every address of the place, all with one port."""
    is_default = place.host is None or place.host == "localhost"
    sockets: list[socket.socket] = []
    port = place.port
    for family, address in _addresses(place):
        try:
            each = _listen_once(family, (address[0], port, *address[2:]))
        except OSError as error:
            if is_default and error.errno in _ABSENT:
                continue
            release(sockets)
            raise _refusal(address[0], port, error) from error
        sockets.append(each)
        port = each.getsockname()[1]
    if not sockets:
        raise RequestError("this computer has no loopback address; give one by --host")
    return sockets


def _listen_once(family: socket.AddressFamily, address: tuple[Any, ...]) -> socket.socket:
    each = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # for TCP_NODELAY
    try:
        each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:  # 0.0.0.0 is asked for by its own name
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
    """Remove what a dead server left; refuse to touch anything else."""
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return
    if not stat.S_ISSOCK(mode):
        raise RequestError(f"{path} is no socket; choose a file that does not exist")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            os.unlink(path)
            return
    raise RequestError(f"{path} is in use by another server; stop it, or choose another file")
