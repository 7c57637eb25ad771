"""Pages as the model sees them: wrapped lines with numbered links, and their display.

Knows the display the model was trained on; not where pages come from.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from textwrap import wrap
from urllib.parse import unquote

from ossia.tools.browser.text import one_line

COLUMNS = 80
MAX_TOKENS = 1024
"""The line that holds the token of this number, counted from 0, is the last one shown."""
MAX_SHOWN_BYTES = 56 << 10
"""Less than a tool's result may have, so that nothing is left out of the middle."""
MAX_TITLE_CHARS, MAX_URL_CHARS = 256, 1024

CountTokens = Callable[[str], int]

_MARK = re.compile("【[0-9]+†([^【】†]*)(?:†([^【】]*))?】")
_LONG_RUN = re.compile(r"\S{20000}|\s{20000}")
"""Longer runs are cut first: textwrap copies what is left of one with each line it takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageContents:
    """A page; its text is clean and contains link marks."""

    url: str
    """Empty for the results of a search."""
    title: str
    lines: tuple[str, ...]
    links: tuple[str, ...] = ()
    """URL of each link by its number."""
    num_chars: int

    @classmethod
    def of_text(cls, url: str, title: str, text: str, links: Sequence[str] = ()) -> "PageContents":
        """Wrap a text; title and text must be clean."""
        lines = tuple(wrapped(text))
        return cls(
            url=url,
            title=one_line(title, MAX_TITLE_CHARS),
            lines=lines,
            links=tuple(links),
            num_chars=sum(map(len, lines)),
        )


def wrapped(text: str) -> Iterable[str]:
    """Lines of at most 80 columns; blanks inside lines stay, and so do empty lines."""
    for line in text.split("\n"):
        if len(line) <= COLUMNS and "\t" not in line:
            yield line
            continue
        for part in _LONG_RUN.sub(lambda run: f"{run[0]}\n", line.expandtabs()).split("\n"):
            yield from wrap(
                part, COLUMNS, replace_whitespace=False, drop_whitespace=False, expand_tabs=False
            )


def link_mark(number: int, text: str, domain: str | None) -> str:
    """Format a link; with its domain only if that differs from the page's."""
    return f"【{number}†{text}†{domain}】" if domain else f"【{number}†{text}】"


def without_marks(text: str) -> str:
    """Replace links by their text; line breaks stay."""
    return _MARK.sub(lambda mark: mark[1] + "\n" * (mark[2] or "").count("\n"), text)


def plain_lines(page: PageContents) -> list[str]:
    """The page's lines without link marks, each with the number it has on the page."""
    return without_marks("\n".join(page.lines)).split("\n")


def last_line(page: PageContents) -> int:
    """The number of the last line."""
    return len(page.lines) - 1


def display(
    page: PageContents, cursor: int, loc: int, num_lines: int | None, count_tokens: CountTokens
) -> str:
    """A view of a page.

    Args:
        page: with a line `loc`.
        cursor: the number of the view.
        loc: the first line shown.
        num_lines: how many; None: as many as hold the tokens of one view.
        count_tokens: of a text. Numbered lines begin with a letter and end with a line break,
            where every tokenizer of this family cuts, so the counts of lines add up.
    """
    shown = [f"L{loc}: {page.lines[loc]}"]
    tokens, size = count_tokens(shown[0] + "\n"), len(shown[0].encode())
    for number in range(loc + 1, len(page.lines)):
        line = f"L{number}: {page.lines[number]}"
        size += len(line.encode()) + 1
        full = tokens > MAX_TOKENS if num_lines is None else len(shown) >= num_lines
        if full or size > MAX_SHOWN_BYTES:
            break
        shown.append(line)
        if num_lines is None:
            tokens += count_tokens(line + "\n")
    url = one_line(unquote(page.url), MAX_URL_CHARS)
    heading = f"{page.title} ({url})" if url else page.title
    extent = f"viewing lines [{loc} - {loc + len(shown) - 1}] of {last_line(page)}"
    return f"[{cursor}] {heading}\n**{extent}**\n\n" + "\n".join(shown)
