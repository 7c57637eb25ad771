"""Parses and checks request headers: Host, Origin, framing, sizes.

Knows no keys and no routes.
"""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.types import Scope

from ossia.server.api.errors import Forbidden, WrongForm

_AUTHORITY = re.compile(
    r"(?P<host>\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?)"
    r"(?::(?P<port>[1-9][0-9]{0,4}))?"
)
_DEFAULT_PORTS = {"http": 80, "https": 443}
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
NOWHERE = frozenset({"0.0.0.0", "::"})
"""Wildcard addresses; browsers let any site reach them."""


@dataclass(frozen=True, slots=True)
class Authority:
    """A host in lower case (IPv6: shortest form, no brackets) and a port."""

    host: str
    port: int | None


@dataclass(frozen=True, slots=True)
class Origin:
    """A page's origin."""

    host: str
    port: int
    is_default_port: bool
    scheme: str


def parse_authority(text: str) -> Authority | None:
    """Parse `host` or `host:port`; None for anything else, including user information."""
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


def parse_origin(text: str) -> Origin | None:
    """Parse `http://host:port`; None for `null`, other schemes and anything with a path."""
    scheme, mark, rest = text.partition("://")
    found = parse_authority(rest)
    if not mark or scheme not in _DEFAULT_PORTS or found is None:
        return None
    default = _DEFAULT_PORTS[scheme]
    port = found.port or default
    return Origin(found.host, port, port == default, scheme)


class AllowedHosts:
    """The host names accepted by this server."""

    def __init__(self, allowed: tuple[str, ...]) -> None:
        """Allow names besides those of loopback.

        Args:
            allowed: each `host` or `host:port`.

        Raises:
            ValueError: a name is invalid; the message quotes it.
        """
        self._allowed: set[tuple[str, int | None]] = set()
        for text in allowed:
            found = parse_authority(text)
            if found is None or found.host in NOWHERE:
                raise ValueError(f"{text!r} is not a host name; expected one like ai.example:8000")
            self._allowed.add((found.host, found.port))

    def is_ours(self, host: Authority, reached: str) -> bool:
        """Whether a request for this host is for this server.

        Args:
            host: from the Host header.
            reached: the local address of the connection. A page that rebinds (DNS) a name of
                its own sends that name, never this address.
        """
        if host.host in NOWHERE:
            return False
        if host.host in LOOPBACK or host.host == reached.partition("%")[0]:
            return True
        return not self._allowed.isdisjoint({(host.host, None), (host.host, host.port)})

    def is_own_page(self, page: Origin, host: Authority) -> bool:
        """Whether a page's origin is this server: same name, same port."""
        host_port = host.port or _DEFAULT_PORTS[page.scheme]
        if (page.host, page.port) == (host.host, host_port):
            return True
        ours = {(page.host, page.port)} | ({(page.host, None)} if page.is_default_port else set())
        return not self._allowed.isdisjoint(ours)


_WITHOUT_BODY = ("GET", "HEAD", "OPTIONS", "TRACE")


@dataclass(frozen=True, slots=True)
class RequestHead:
    """Method, path and headers of a request."""

    method: str
    path: str
    url_bytes: int
    fields: Mapping[str, tuple[str, ...]]
    """Values by lower-case name."""
    num_fields: int
    fields_bytes: int
    reached: str
    """Local address of the connection; the path of a unix socket."""
    client: str
    """Client's address; empty for a unix socket."""

    @classmethod
    def of(cls, scope: Scope) -> "RequestHead":
        """Parse an ASGI scope."""
        fields: dict[str, tuple[str, ...]] = {}
        for name, value in scope["headers"]:
            key = name.decode("latin-1").lower()
            fields[key] = (*fields.get(key, ()), value.decode("latin-1"))
        raw_path = scope.get("raw_path") or scope["path"].encode()
        return cls(
            method=scope["method"],
            path=scope["path"],
            url_bytes=len(raw_path) + len(scope["query_string"]) + 1,
            fields=fields,
            num_fields=len(scope["headers"]),
            fields_bytes=sum(len(name) + len(value) + 4 for name, value in scope["headers"]),
            reached=(scope.get("server") or ("",))[0],
            client=(scope.get("client") or ("",))[0],
        )

    def one(self, name: str) -> str | None:
        """Return the value of a header that may appear at most once.

        Raises:
            WrongForm: it appears twice.
        """
        values = self.fields.get(name, ())
        if len(values) > 1:
            raise WrongForm(400, "repeated_header", f"the header {name} stands twice; send it once")
        return values[0] if values else None


def check_size(head: RequestHead, *, max_url_bytes: int, max_bytes: int, max_fields: int) -> None:
    """Refuse URLs and headers beyond the limits."""
    if head.url_bytes > max_url_bytes:
        raise WrongForm(
            414, "url_too_long", f"the URL has {head.url_bytes} bytes; at most {max_url_bytes}"
        )
    if head.num_fields > max_fields or head.fields_bytes > max_bytes:
        raise WrongForm(
            431,
            "headers_too_large",
            f"there are {head.num_fields} headers of {head.fields_bytes} bytes; "
            f"at most {max_fields} of {max_bytes}",
        )


def check_names(head: RequestHead, ours: AllowedHosts) -> None:
    """Refuse requests for other hosts and from other sites' pages.

    A page in the user's browser can reach loopback, even under its own name: the Host header
    reveals that, and Origin and Sec-Fetch-Site identify the page.
    """
    text = head.one("host")
    host = parse_authority(text) if text is not None else None
    if host is None:
        raise WrongForm(400, "invalid_host", "the Host header is missing or not a host and a port")
    if not ours.is_ours(host, head.reached):
        raise WrongForm(
            421,
            "wrong_host",
            "this server is not known by the name in the Host header; use its address, "
            "or start it with: --allowed-host NAME",
        )
    for text in head.fields.get("origin", ()):
        page = parse_origin(text)
        if page is None or not ours.is_own_page(page, host):
            raise Forbidden("pages of other sites may not use this server", "foreign_origin")
    if not set(head.fields.get("sec-fetch-site", ())) <= {"same-origin", "none"}:
        raise Forbidden("pages of other sites may not use this server", "cross_site")
    if "websocket" in ",".join(head.fields.get("upgrade", ())).lower():
        raise WrongForm(400, "upgrade_refused", "there is no WebSocket here; use HTTP")


def body_length(head: RequestHead) -> int | None:
    """Return the declared length of the body; None: it is chunked.

    Raises:
        WrongForm: the length is not a number, or the framing is ambiguous.
    """
    length, coding = head.one("content-length"), head.one("transfer-encoding")
    if coding is not None:
        if length is not None or coding.strip().lower() != "chunked":
            raise WrongForm(
                400, "invalid_framing", "the body's end is unclear; send content-length alone"
            )
        return None
    if length is None:
        return 0
    if not (length.isascii() and length.isdigit() and len(length) <= 18):
        raise WrongForm(400, "invalid_framing", "content-length must be one whole number")
    return int(length)


def check_content(head: RequestHead, length: int | None) -> None:
    """Refuse a body that is not plain JSON; forms, which any site may send, are refused too.

    Args:
        head: of the request.
        length: of the body; None: unknown.
    """
    coding = head.one("content-encoding")
    if coding is not None and coding.strip().lower() != "identity":
        raise WrongForm(415, "content_encoding", "compressed bodies are not read; send plain JSON")
    media = head.one("content-type")
    if length == 0 and (media is None or head.method in _WITHOUT_BODY):
        return
    if media is None or media.partition(";")[0].strip().lower() != "application/json":
        raise WrongForm(
            415, "content_type", "the body must be JSON: content-type: application/json"
        )
