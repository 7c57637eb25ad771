"""HTML cut into tags and text, in time that grows with its length only, whatever it holds.

The parser of the standard library is quadratic on malformed input, and raises on some, in the
Pythons we support. Knows no element but those whose content is no markup.
"""

import html
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_RAW = frozenset(("script", "style", "xmp", "iframe", "noembed", "noframes"))
_ESCAPABLE = frozenset(("title", "textarea"))
_NO_MARKUP = _RAW | _ESCAPABLE
_COMMENT_END = re.compile("--!?>")
_NAME = re.compile(r"[a-zA-Z][^\s/>]*+")
_ATTRIBUTE = re.compile(
    r"""[\s/]*+(?:([^\s/>][^\s/>=]*+)(?:\s*+=\s*+(?:"([^"]*+)"?+|'([^']*+)'?+|([^\s>]*+)))?+)?+"""
)
_LONG_NUMBER = re.compile("&#(?:[xX][0-9a-fA-F]{8,}+|[0-9]{8,}+);?+")


@dataclass(frozen=True, slots=True)
class Opened:
    """The beginning of an element."""

    name: str
    attributes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Closed:
    """The end of an element."""

    name: str


Piece = Opened | Closed | str
"""A string is text with its entities decoded."""


def pieces(markup: str) -> Iterator[Piece]:
    """Cut a page; what is never closed swallows the rest, as in browsers.

    Source:
        HTML Living Standard, section 13.2.5, as far as text depends on it.
    """
    at = 0
    while (start := markup.find("<", at)) >= 0:
        if start > at:
            yield decoded(markup[at:start])
        piece, at = _tag(markup, start)
        if piece is None:
            continue
        yield piece
        if isinstance(piece, Opened) and piece.name in _NO_MARKUP:
            close, end = _end_of(markup, at, piece.name)
            if piece.name in _ESCAPABLE and close > at:
                yield decoded(markup[at:close])
            yield Closed(piece.name)
            at = end
    if at < len(markup):
        yield decoded(markup[at:])


def decoded(text: str) -> str:
    """Text with its entities decoded."""
    if "&" not in text:
        return text
    return html.unescape(_LONG_NUMBER.sub("\ufffd", text))  # int() refuses very long numbers


def _tag(markup: str, start: int) -> tuple[Piece | None, int]:
    """What begins with "<" at `start`, and where it ends."""
    closing = markup.startswith("/", start + 1)
    name = _NAME.match(markup, start + 1 + closing)
    if name is None:
        return _no_tag(markup, start)
    if closing:
        return Closed(name[0].lower()), _behind(markup, name.end())
    attributes, at = _attributes(markup, name.end())
    if at >= len(markup):
        return None, at
    return Opened(name[0].lower(), attributes), at + 1


def _no_tag(markup: str, start: int) -> tuple[Piece | None, int]:
    """A comment or a declaration, or a "<" that is text."""
    if markup.startswith("<!--", start):
        end = _COMMENT_END.search(markup, start + 2)
        return None, end.end() if end else len(markup)
    if markup.startswith(("</", "<!", "<?"), start):
        return None, _behind(markup, start)
    return "<", start + 1


def _attributes(markup: str, at: int) -> tuple[dict[str, str], int]:
    """All up to the ">" and where that is; the first of equal names counts."""
    found: dict[str, str] = {}
    while (match := _ATTRIBUTE.match(markup, at)) and match[1]:
        value = match[2] or match[3] or match[4] or ""
        found.setdefault(match[1].lower(), decoded(value))
        at = match.end()
    return found, match.end() if match else at


def _behind(markup: str, start: int) -> int:
    end = markup.find(">", start)
    return len(markup) if end < 0 else end + 1


def _end_of(markup: str, at: int, name: str) -> tuple[int, int]:
    """Where the end tag of an element without markup begins and ends."""
    close = re.compile(rf"</{name}(?=[\s/>])", re.IGNORECASE).search(markup, at)
    if close is None:
        return len(markup), len(markup)
    return close.start(), _behind(markup, close.end())
