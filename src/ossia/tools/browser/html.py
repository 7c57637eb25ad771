"""Converts HTML to the text that a reader would see, with numbered links.

Tags are cut here in time that grows with the page's length only, whatever it holds: the standard
library's parser is quadratic on malformed input, and lexbor's in the depth of its tree.
"""

import html
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from urllib.parse import urlsplit

from ossia.tools.browser.links import Links, joined
from ossia.tools.browser.text import ReadText, clean_text, one_line

_RAW = frozenset(("script", "style", "xmp", "iframe", "noembed", "noframes"))
_ESCAPABLE = frozenset(("title", "textarea"))
_NO_MARKUP = _RAW | _ESCAPABLE
_COMMENT_END = re.compile("--!?>")
_NAME = re.compile(r"[a-zA-Z][^\s/>]*+")
_ATTRIBUTE = re.compile(
    r"""[\s/]*+(?:([^\s/>][^\s/>=]*+)(?:\s*+=\s*+(?:"([^"]*+)"?+|'([^']*+)'?+|([^\s>]*+)))?+)?+"""
)
_LONG_NUMBER = re.compile("&#(?:[xX][0-9a-fA-F]{8,}+|[0-9]{8,}+);?+")
_BLANKS = re.compile("[ \t\n]+")
MAX_DEPTH = 12
"""The deepest indent of lists and quotes."""


class TextLayout:
    """Builds plain text: lines, paragraphs, lists, quotes, tables."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._line: list[str] = []
        self._ends_blank = True  # nothing, or a blank, stands before what comes
        self._lead = ""
        self._has_cell = False
        self._lists: list[int | None] = []
        self._num_quotes = 0
        self._verbatim = False

    def write(self, text: str) -> None:
        """Add clean text."""
        if self._verbatim:
            first, *others = text.split("\n")
            self._line.append(first)
            for line in others:
                self._flush(blank_too=True)
                self._line.append(line)
            return
        words = _BLANKS.sub(" ", text)
        if self._ends_blank:
            words = words.removeprefix(" ")
        if words:
            self._line.append(words)
            self._ends_blank = words.endswith(" ")

    def line(self) -> None:
        """Begin a line."""
        if not self._verbatim:
            self._flush(blank_too=False)

    def paragraph(self) -> None:
        """Begin a paragraph."""
        self.line()
        if self._lines and self._lines[-1]:
            self._lines.append("")

    def prefix(self, lead: str) -> None:
        """Put a prefix before the next text, if there is any."""
        self._lead = lead

    def rule(self) -> None:
        """Draw a horizontal rule."""
        self.write("* * *")
        self.paragraph()

    def cell(self) -> None:
        """Begin the next cell of a row."""
        if self._has_cell and not self._verbatim:
            self._line.append("| " if self._ends_blank else " | ")
            self._ends_blank = True
        self._has_cell = True

    def begin_list(self, *, numbered: bool) -> None:
        """Begin a list."""
        self._lists.append(0 if numbered else None)

    def end_list(self) -> None:
        """End a list."""
        if self._lists:
            self._lists.pop()

    def begin_item(self) -> None:
        """Begin a list item."""
        indent = "  " * min(max(len(self._lists), 1), MAX_DEPTH)
        number = self._lists[-1] if self._lists else None
        if number is None:
            self._lead = f"{indent}* "
        else:
            self._lists[-1] = number + 1
            self._lead = f"{indent}{number + 1}. "

    def begin_quote(self) -> None:
        """Begin a block quote."""
        self._num_quotes += 1

    def end_quote(self) -> None:
        """End a block quote."""
        self.line()
        self._num_quotes = max(self._num_quotes - 1, 0)

    def begin_verbatim(self) -> None:
        """Begin preformatted text: blanks and breaks count."""
        self._verbatim = True

    def end_verbatim(self) -> None:
        """End preformatted text."""
        if self._verbatim:
            self._flush(blank_too=False)
            self._verbatim = False

    def text(self) -> str:
        """The whole text, without blank lines at its ends."""
        self._flush(blank_too=False)
        lines: list[str] = []
        for line in self._lines:
            if line or (lines and lines[-1]):
                lines.append(line)
        while lines and not lines[-1]:
            lines.pop()
        return "\n".join(lines)

    def _flush(self, *, blank_too: bool) -> None:
        text = "".join(self._line).rstrip()
        if text:
            lead = "    " if self._verbatim else self._lead
            self._lines.append(f"{self._margin()}{lead}{text}")
            self._lead = ""
        elif blank_too:
            self._lines.append("")
        self._line = []
        self._ends_blank = True
        self._has_cell = False

    def _margin(self) -> str:
        return "> " * min(self._num_quotes, MAX_DEPTH)


DROPPED = frozenset((
    "script", "style", "template", "svg", "math", "canvas", "audio", "video", "object", "iframe",
    "noembed", "noframes", "xmp", "select", "datalist", "dialog", "map",
))  # fmt: skip
"""Elements whose content is not text of the page."""
VOID = frozenset((
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source",
    "track", "wbr",
))  # fmt: skip
"""Void elements, which have no end tag."""
END_BY_THEMSELVES = frozenset(("p", "li", "dt", "dd", "option", "tr", "td", "th"))
"""Elements that end where one of the same kind begins."""
_PARAGRAPHS = frozenset((
    "p", "blockquote", "ul", "ol", "dl", "table", "figure", "pre", "hr",
    "h1", "h2", "h3", "h4", "h5", "h6",
))  # fmt: skip
_LINES = frozenset((
    "div", "section", "article", "header", "footer", "main", "aside", "nav", "address", "form",
    "fieldset", "li", "dt", "dd", "tr", "caption", "figcaption", "details", "summary", "option",
    "legend", "br", "body", "head", "html",
))  # fmt: skip
BLOCKS = _PARAGRAPHS | _LINES
"""Block elements."""
_HIDING = re.compile(
    r"display:none|visibility:(?:hidden|collapse)|font-size:0[a-z%]*(?:;|$)"
    r"|opacity:0(?:\.0*)?(?:;|$)"
)
_WHITE = re.compile(r"(?<![a-z-])color:(?:white|#fff|#ffffff|rgba?\(255,255,255)(?![0-9a-f])")


def _heading(level: int) -> Callable[[TextLayout], None]:
    return lambda layout: layout.prefix("#" * level + " ")


_BEGINS: Mapping[str, Callable[[TextLayout], None]] = MappingProxyType(
    {
        "ul": lambda layout: layout.begin_list(numbered=False),
        "ol": lambda layout: layout.begin_list(numbered=True),
        "li": TextLayout.begin_item,
        "blockquote": TextLayout.begin_quote,
        "pre": TextLayout.begin_verbatim,
        "td": TextLayout.cell,
        "th": TextLayout.cell,
        "hr": TextLayout.rule,
    }
    | {f"h{level}": _heading(level) for level in range(1, 7)}
)
_ENDS: Mapping[str, Callable[[TextLayout], None]] = MappingProxyType(
    {
        "ul": TextLayout.end_list,
        "ol": TextLayout.end_list,
        "blockquote": TextLayout.end_quote,
        "pre": TextLayout.end_verbatim,
    }
)


def begin_element(name: str, layout: TextLayout) -> None:
    """Lay out a start tag."""
    _stand_apart(name, layout)
    if does := _BEGINS.get(name):
        does(layout)


def end_element(name: str, layout: TextLayout) -> None:
    """Lay out an end tag."""
    if does := _ENDS.get(name):
        does(layout)
    _stand_apart(name, layout)


def _stand_apart(name: str, layout: TextLayout) -> None:
    if name in _PARAGRAPHS:
        layout.paragraph()
    elif name in _LINES:
        layout.line()


def is_hidden(attributes: Mapping[str, str]) -> bool:
    """Whether an element's own attributes hide it."""
    if "hidden" in attributes or attributes.get("aria-hidden", "").lower() == "true":
        return True
    if "style" not in attributes:
        return False
    style = re.sub(r"\s+|!important", "", attributes["style"].lower())
    on_white = bool(_WHITE.search(style)) and "background" not in style
    return on_white or bool(_HIDING.search(style))


@dataclass(frozen=True, slots=True)
class StartTag:
    """A start tag."""

    name: str
    attributes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class EndTag:
    """An end tag."""

    name: str


HtmlToken = StartTag | EndTag | str
"""A string is text with its entities decoded."""


def tokenize(markup: str) -> Iterator[HtmlToken]:
    """Tokenize a page; what is never closed swallows the rest, as in browsers.

    Source:
        HTML Living Standard, section 13.2.5, as far as text depends on it.
    """
    at = 0
    while (start := markup.find("<", at)) >= 0:
        if start > at:
            yield decoded(markup[at:start])
        token, at = _tag(markup, start)
        if token is None:
            continue
        yield token
        if isinstance(token, StartTag) and token.name in _NO_MARKUP:
            close, end = _end_of(markup, at, token.name)
            if token.name in _ESCAPABLE and close > at:
                yield decoded(markup[at:close])
            yield EndTag(token.name)
            at = end
    if at < len(markup):
        yield decoded(markup[at:])


def decoded(text: str) -> str:
    """Text with its entities decoded."""
    if "&" not in text:
        return text
    return html.unescape(_LONG_NUMBER.sub("\ufffd", text))  # int() refuses very long numbers


def _tag(markup: str, start: int) -> tuple[HtmlToken | None, int]:
    """The token that begins with "<" at `start`, and where it ends."""
    closing = markup.startswith("/", start + 1)
    name = _NAME.match(markup, start + 1 + closing)
    if name is None:
        return _no_tag(markup, start)
    if closing:
        return EndTag(name[0].lower()), _behind(markup, name.end())
    attributes, at = _attributes(markup, name.end())
    if at >= len(markup):
        return None, at
    return StartTag(name[0].lower(), attributes), at + 1


def _no_tag(markup: str, start: int) -> tuple[HtmlToken | None, int]:
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


MAX_LINK_CHARS = 400


def read_html(markup: str, url: str) -> ReadText:
    """Convert a page to text.

    Args:
        markup: the page, decoded.
        url: where it comes from; relative links start there.

    Returns:
        Its title, or "", its clean text with link marks, and the URLs of the links.
    """
    reader = _PageReader(url)
    for token in tokenize(markup):
        match token:
            case StartTag(name, attributes):
                reader.open(name, attributes)
            case EndTag(name):
                reader.close(name)
            case _:
                reader.write(token)
    return reader.finish()


class _PageReader:
    def __init__(self, url: str) -> None:
        self._layout = TextLayout()
        self._links = Links(url)
        self._title: list[str] = []
        self._in_title = False
        self._hidden: str | None = None
        self._depth = 0
        self._anchor: tuple[str, list[str]] | None = None
        self._num_images = 0

    def open(self, name: str, attributes: Mapping[str, str]) -> None:
        """Handle a start tag."""
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
                begin_element(name, self._layout)
            case _ if name in BLOCKS:
                self.write(" ")  # a link is one line

    def close(self, name: str) -> None:
        """Handle an end tag."""
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
                end_element(name, self._layout)
            case _ if name in BLOCKS:
                self.write(" ")

    def write(self, text: str) -> None:
        """Add text, its entities decoded."""
        if self._hidden is not None:
            return
        if self._in_title:
            self._title.append(text)
        elif self._anchor is not None:
            self._anchor[1].append(text)
        else:
            self._layout.write(clean_text(text))

    def finish(self) -> ReadText:
        """The page as text."""
        self._end_link()
        text = self._layout.text()
        return ReadText("".join(self._title), text, tuple(self._links.urls))

    def _vanishes(self, name: str, attributes: Mapping[str, str]) -> bool:
        if name in DROPPED:
            return True
        return name not in ("html", "body") and is_hidden(attributes)

    def _reappears(self, name: str) -> bool:
        """Whether an element that ends where its like begins takes its hiding with it."""
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
