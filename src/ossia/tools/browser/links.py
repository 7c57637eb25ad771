"""The numbered links of one page."""

from urllib.parse import urldefrag, urljoin, urlsplit

from ossia.tools.browser.page import link_mark
from ossia.tools.browser.text import one_line

SCHEMES = ("http", "https", "corpus")
MAX_LINKS = 5000
MAX_HREF_CHARS = 4096
_MAX_DOMAIN_CHARS = 100


class Links:
    """Numbers URLs; the same URL keeps its number."""

    def __init__(self, url: str) -> None:
        self.base = url
        """The base of relative links."""
        self.urls: list[str] = []
        self._host = domain_of(url)
        self._here = urldefrag(url)[0] if url else ""
        self._numbers: dict[str, int] = {}

    def mark(self, href: str, words: str) -> str:
        """Mark a text as a link; only the text if it leads to no other page."""
        url = self._absolute(href)
        if url is None:
            return words
        number = self._numbers.get(url)
        if number is None:
            if len(self.urls) >= MAX_LINKS:
                return words
            number = self._numbers[url] = len(self.urls)
            self.urls.append(url)
        domain = domain_of(url)
        return link_mark(number, words, domain if domain != self._host else None)

    def _absolute(self, href: str) -> str | None:
        href = href.strip()
        if not href or href.startswith("#") or len(href) > MAX_HREF_CHARS:
            return None
        try:
            url = joined(self.base, href)
            parts = urlsplit(url)
        except ValueError:
            return None
        if parts.scheme not in SCHEMES or not parts.netloc:
            return None
        return None if urldefrag(url)[0] == self._here else url


def joined(base: str, href: str) -> str:
    """Resolve a link against its base; raises ValueError if it is invalid.

    The standard library joins relative links for schemes it knows; pages of a corpus join alike.
    """
    corpus, known = "corpus://", "http://"
    if not base.startswith(corpus) or urlsplit(href).scheme or href.startswith("//"):
        return urljoin(base, href)
    url = urljoin(base.replace(corpus, known, 1), href)
    return url.replace(known, corpus, 1)


def domain_of(url: str) -> str:
    """The host a URL names, as it is shown; empty if it names none."""
    try:
        netloc = urlsplit(url).netloc
    except ValueError:
        return ""
    return one_line(netloc, _MAX_DOMAIN_CHARS)
