"""Host and Origin as clients write them: read strictly, so that two spellings never mean one.

It knows the grammar alone; which names are ours is said by the guard.
"""

import ipaddress
import re
from dataclasses import dataclass

_AUTHORITY = re.compile(
    r"(?P<host>\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?)"
    r"(?::(?P<port>[1-9][0-9]{0,4}))?"
)
_DEFAULT_PORTS = {"http": 80, "https": 443}
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
NOWHERE = frozenset({"0.0.0.0", "::"})
"""Addresses that mean "all of mine" to who listens; browsers let any site reach them."""


@dataclass(frozen=True, slots=True)
class Authority:
    """A host, in lower case, an IPv6 address in its shortest form without brackets; and a port."""

    host: str
    port: int | None


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a page came from."""

    host: str
    port: int
    is_default_port: bool
    scheme: str


def authority(text: str) -> Authority | None:
    """Read `host` or `host:port`; None for anything else, user information and odd ports too."""
    match = _AUTHORITY.fullmatch(text)
    if match is None:
        return None
    host, port = match["host"].lower(), int(match["port"]) if match["port"] else None
    if port is not None and port > 65535:
        return None
    if host.startswith("["):
        try:
            host = ipaddress.IPv6Address(host[1:-1]).compressed
        except ValueError:
            return None
    return Authority(host, port)


def origin(text: str) -> Origin | None:
    """Read `http://host:port`; None for `null`, other schemes and anything with a path."""
    scheme, mark, rest = text.partition("://")
    found = authority(rest)
    if not mark or scheme not in _DEFAULT_PORTS or found is None:
        return None
    default = _DEFAULT_PORTS[scheme]
    port = found.port or default
    return Origin(found.host, port, port == default, scheme)


class OurNames:
    """The names under which this server may be asked."""

    def __init__(self, allowed: tuple[str, ...]) -> None:
        """Take the names an operator allows beside those of loopback.

        Args:
            allowed: each `host` or `host:port`.

        Raises:
            ValueError: one of them is neither; the message names it.
        """
        self._allowed: set[tuple[str, int | None]] = set()
        for text in allowed:
            found = authority(text)
            if found is None or found.host in NOWHERE:
                raise ValueError(f"{text!r} is no host name; expected one like ai.example:8000")
            self._allowed.add((found.host, found.port))

    def is_ours(self, host: Authority, reached: str) -> bool:
        """Whether a request for this host is meant for us.

        Args:
            host: what the client asked for.
            reached: the address at which its connection arrived. A page that rebinds a name of
                its own sends that name, never this.
        """
        if host.host in NOWHERE:
            return False
        if host.host in LOOPBACK or host.host == reached.partition("%")[0]:
            return True
        return not self._allowed.isdisjoint({(host.host, None), (host.host, host.port)})

    def is_own_page(self, page: Origin, host: Authority) -> bool:
        """Whether a page came from the server it now asks: same name, same port."""
        asked_port = host.port or _DEFAULT_PORTS[page.scheme]
        if (page.host, page.port) == (host.host, asked_port):
            return True
        ours = {(page.host, page.port)} | ({(page.host, None)} if page.is_default_port else set())
        return not self._allowed.isdisjoint(ours)
