"""What HTML elements look like in plain text, and which of them nobody sees.

Knows names and attributes; cuts no tags.
"""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

from ossia.tools.browser.layout import Layout

DROPPED = frozenset((
    "script", "style", "template", "svg", "math", "canvas", "audio", "video", "object", "iframe",
    "noembed", "noframes", "xmp", "select", "datalist", "dialog", "map",
))  # fmt: skip
"""Elements whose content is no text of the page."""
VOID = frozenset((
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source",
    "track", "wbr",
))  # fmt: skip
"""Elements that have no end."""
END_BY_THEMSELVES = frozenset(("p", "li", "dt", "dd", "option", "tr", "td", "th"))
"""Elements that end where their like begins."""
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
"""Elements that do not stand in a line of text."""
_HIDING = re.compile(
    r"display:none|visibility:(?:hidden|collapse)|font-size:0[a-z%]*(?:;|$)"
    r"|opacity:0(?:\.0*)?(?:;|$)"
)
_WHITE = re.compile(r"(?<![a-z-])color:(?:white|#fff|#ffffff|rgba?\(255,255,255)(?![0-9a-f])")


def _heading(level: int) -> Callable[[Layout], None]:
    return lambda layout: layout.prefix("#" * level + " ")


_BEGINS: Mapping[str, Callable[[Layout], None]] = MappingProxyType(
    {
        "ul": lambda layout: layout.begin_list(numbered=False),
        "ol": lambda layout: layout.begin_list(numbered=True),
        "li": Layout.begin_item,
        "blockquote": Layout.begin_quote,
        "pre": Layout.begin_verbatim,
        "td": Layout.cell,
        "th": Layout.cell,
        "hr": Layout.rule,
    }
    | {f"h{level}": _heading(level) for level in range(1, 7)}
)
_ENDS: Mapping[str, Callable[[Layout], None]] = MappingProxyType(
    {
        "ul": Layout.end_list,
        "ol": Layout.end_list,
        "blockquote": Layout.end_quote,
        "pre": Layout.end_verbatim,
    }
)


def begin(name: str, layout: Layout) -> None:
    """An element begins."""
    _stand_apart(name, layout)
    if does := _BEGINS.get(name):
        does(layout)


def end(name: str, layout: Layout) -> None:
    """An element ends."""
    if does := _ENDS.get(name):
        does(layout)
    _stand_apart(name, layout)


def _stand_apart(name: str, layout: Layout) -> None:
    if name in _PARAGRAPHS:
        layout.paragraph()
    elif name in _LINES:
        layout.line()


def is_hidden(attributes: Mapping[str, str]) -> bool:
    """Whether an element's own attributes keep readers from seeing it."""
    if "hidden" in attributes or attributes.get("aria-hidden", "").lower() == "true":
        return True
    if "style" not in attributes:
        return False
    style = re.sub(r"\s+|!important", "", attributes["style"].lower())
    on_white = bool(_WHITE.search(style)) and "background" not in style
    return on_white or bool(_HIDING.search(style))
