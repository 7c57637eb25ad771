"""A web page as text: what a reader would see, with numbered links.

Knows elements and what they look like in plain text; cuts no tags itself and opens no address.
"""

from collections.abc import Mapping
from urllib.parse import urlsplit

from ossia.tools.browser import elements
from ossia.tools.browser.cleaning import cleaned, one_line
from ossia.tools.browser.elements import (
    BLOCKS,
    DROPPED,
    END_BY_THEMSELVES,
    VOID,
    is_hidden,
)
from ossia.tools.browser.layout import Layout
from ossia.tools.browser.links import Links, joined
from ossia.tools.browser.markup import Closed, Opened, pieces
from ossia.tools.browser.text import ReadText

MAX_LINK_CHARS = 400


def read_html(markup: str, url: str) -> ReadText:
    """Read a page.

    Args:
        markup: the page, decoded.
        url: where it comes from; relative links start there.

    Returns:
        Its title, or "", its clean text with link marks, and the URLs of the links.
    """
    reader = _Reader(url)
    for piece in pieces(markup):
        match piece:
            case Opened(name, attributes):
                reader.open(name, attributes)
            case Closed(name):
                reader.close(name)
            case _:
                reader.write(piece)
    return reader.finish()


class _Reader:
    def __init__(self, url: str) -> None:
        self._layout = Layout()
        self._links = Links(url)
        self._title: list[str] = []
        self._in_title = False
        self._hidden: str | None = None
        self._depth = 0
        self._anchor: tuple[str, list[str]] | None = None
        self._num_images = 0

    def open(self, name: str, attributes: Mapping[str, str]) -> None:
        """An element begins."""
        if self._hidden is not None and not self._reappears(name):
            self._depth += name == self._hidden
        elif not self._vanishes(name, attributes):
            self._begin(name, attributes)
        elif name not in VOID:
            self._hidden, self._depth = name, 1

    def _begin(self, name: str, attributes: Mapping[str, str]) -> None:
        match name:
            case "a":
                self._end_link()
                if "href" in attributes:
                    self._anchor = (attributes["href"], [])
            case "img":
                self._image(attributes.get("alt", ""))
            case "title":
                self._in_title = not self._title
            case "base":
                self._rebase(attributes.get("href", ""))
            case "sup" | "sub":
                self.write("^{" if name == "sup" else "_{")
            case _ if self._anchor is None:
                elements.begin(name, self._layout)
            case _ if name in BLOCKS:
                self.write(" ")  # a link is one line

    def close(self, name: str) -> None:
        """An element ends."""
        if self._hidden is not None:
            self._depth -= name == self._hidden
            if self._depth == 0:
                self._hidden = None
            return
        match name:
            case "a":
                self._end_link()
            case "title":
                self._in_title = False
            case "sup" | "sub":
                self.write("}")
            case "body" | "html":
                self._end_link()
            case _ if self._anchor is None:
                elements.end(name, self._layout)
            case _ if name in BLOCKS:
                self.write(" ")

    def write(self, text: str) -> None:
        """Text as it stands in the page, entities decoded."""
        if self._hidden is not None:
            return
        if self._in_title:
            self._title.append(text)
        elif self._anchor is not None:
            self._anchor[1].append(text)
        else:
            self._layout.write(cleaned(text))

    def finish(self) -> ReadText:
        """What was read."""
        self._end_link()
        text = self._layout.text()
        return ReadText("".join(self._title), text, tuple(self._links.urls))

    def _vanishes(self, name: str, attributes: Mapping[str, str]) -> bool:
        if name in DROPPED:
            return True
        return name not in ("html", "body") and is_hidden(attributes)

    def _reappears(self, name: str) -> bool:
        """An element that ends where its like begins takes its hiding with it."""
        if name == self._hidden and self._depth == 1 and name in END_BY_THEMSELVES:
            self._hidden = None
        return self._hidden is None

    def _image(self, alt: str) -> None:
        if words := one_line(alt, MAX_LINK_CHARS):
            self.write(f"[Image {self._num_images}: {words}]")
            self._num_images += 1

    def _rebase(self, href: str) -> None:
        try:
            base = joined(self._links.base, href.strip())
            if urlsplit(base).scheme in ("http", "https"):
                self._links.base = base
        except ValueError:
            return

    def _end_link(self) -> None:
        if self._anchor is None:
            return
        href, parts = self._anchor
        self._anchor = None
        text = "".join(parts)
        words = one_line(text, MAX_LINK_CHARS)
        space_before = text[:1].isspace()
        space_behind = text[-1:].isspace()
        marked = self._links.mark(href, words) if words else ""
        self._layout.write(f"{' ' * space_before}{marked}{' ' * space_behind}")
