"""Web addresses, parsed once, and which addresses of the net may be spoken to.

Judges addresses, not names; resolves nothing.
"""

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import quote

from ossia.tools.browser.backend import Failure

DEFAULT_PORTS = {"http": 80, "https": 443}
MAX_URL_CHARS = 4096

_URL = re.compile(
    r"(https?)://([A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::([0-9]{1,5}))?([/?#].*)?",
    re.IGNORECASE | re.ASCII | re.DOTALL,
)
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")
_UNRESERVED = "/?:@!$&'()*+,;=-._~%[]"
_NOT_PUBLIC = tuple(
    map(
        ipaddress.ip_network,
        (
            "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
            "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16",
            "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",
            "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
        ),
    )
)  # fmt: skip
"""Said here, since each Python knows another list: some call NAT64, 6to4, multicast global."""
_GIVEN_OUT = ipaddress.ip_network("2000::/3")
"""All of IPv6 that was ever given to anybody for use on the public net."""


@dataclass(frozen=True, slots=True)
class WebAddress:
    """A URL taken apart: what is checked is what is fetched."""

    scheme: str
    host: str
    """A name or an address; without brackets, in lower case."""
    port: int
    target: str
    """Path and query, quoted."""

    @property
    def authority(self) -> str:
        """Host and, where it is another than usual, port: as it stands in a URL and in `Host`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The URL again."""
        return f"{self.scheme}://{self.authority}{self.target}"

    def at(self, address: str) -> str:
        """The URL with an address of the net for its host."""
        host = f"[{address}]" if ":" in address else address
        return f"{self.scheme}://{host}:{self.port}{self.target}"


def parse(url: str, ports: frozenset[int]) -> WebAddress:
    """Take a URL apart.

    Args:
        url: of http or https, without user or password, its host spelt in ASCII.
        ports: that may be spoken to.

    Raises:
        Failure: it is anything else.
    """
    if len(url) > MAX_URL_CHARS or _UNPRINTABLE.search(url):
        raise Failure("the URL is too long, or holds what no URL may; open another")
    parts = _URL.fullmatch(url)
    if parts is None:
        raise Failure(
            f"{url:.200} cannot be opened; expected http:// or https://, a plain host and a path"
        )
    scheme, host = parts[1].lower(), parts[2].strip("[]").removesuffix(".").lower()
    port = int(parts[3]) if parts[3] else DEFAULT_PORTS[scheme]
    if port not in ports:
        allowed = ", ".join(map(str, sorted(ports)))
        raise Failure(f"port {port} may not be opened; allowed are: {allowed}")
    rest = (parts[4] or "/").partition("#")[0]
    target = quote(rest if rest.startswith("/") else f"/{rest}", _UNRESERVED, errors="replace")
    return WebAddress(scheme, host, port, target)


def is_public(address: str) -> bool:
    """Whether an address of the net is one that everybody can reach, and of no special use."""
    try:
        judged = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(judged, ipaddress.IPv6Address):
        if judged.scope_id is not None:
            return False
        judged = judged.ipv4_mapped or judged
    if judged.version == 6 and judged not in _GIVEN_OUT:
        return False
    special = any(judged in network for network in _NOT_PUBLIC if network.version == judged.version)
    return judged.is_global and not special
