"""Decides which URLs a conversation may open without approval, since a URL can leak secrets.

Knows addresses and who named them; opens nothing.
"""

import re
from collections.abc import Iterable
from urllib.parse import unquote, urldefrag, urlsplit

MAX_NAMED = 100_000
"""Limit of URLs; further ones need approval."""

_URL = re.compile(r"https?://[^\s<>\"'`]{1,4096}", re.IGNORECASE)
_HOST = re.compile(r"(?<![\w.@/-])(?:[a-z0-9-]{1,63}\.){1,8}[a-z]{2,24}(?![\w-])", re.IGNORECASE)
_FILE_ENDINGS = (".md", ".py", ".rs", ".sh", ".pl", ".cc", ".ps", ".zip", ".mov", ".app", ".so")
"""Files that people write of; all are ends of host names too."""
_TRAILING = ".,;:!?)]}*_"


class Provenance:
    """Records which URLs did not come from the model."""

    def __init__(self) -> None:
        self._urls: set[str] = set()
        self._hosts: set[str] = set()

    def heard(self, text: str) -> None:
        """Record the URLs of a user message: they and their hosts need no approval."""
        urls = [url.rstrip(_TRAILING) for url in _URL.findall(text)]
        bare = {host.lower() for host in _HOST.findall(text)}
        self._hosts |= {host for host in bare if not host.endswith(_FILE_ENDINGS)}
        self._hosts |= {_host(url) for url in urls} - {""}
        self.listed(urls)

    def listed(self, urls: Iterable[str]) -> None:
        """Record the URLs of a result or page: exactly these need no approval."""
        for url in urls:
            if len(self._urls) < MAX_NAMED:
                self._urls.add(_canonical(url))

    def knows(self, url: str) -> bool:
        """Whether this URL did not come from the model."""
        return _canonical(url) in self._urls or _host(url) in self._hosts


def _host(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").removesuffix(".")
    except ValueError:
        return ""


def _canonical(url: str) -> str:
    """The same for spellings that lead to the same page, or that a display makes of a URL."""
    try:
        parts = urlsplit(urldefrag(url.strip())[0])
    except ValueError:
        return url
    path = unquote(parts.path).rstrip("/")
    query = f"?{unquote(parts.query)}" if parts.query else ""
    return f"{parts.scheme.lower()}://{parts.netloc.lower()}{path}{query}"
