"""Finds a text on a page."""

from typing import NamedTuple
from urllib.parse import quote

from ossia.tools.browser.cleaning import one_line
from ossia.tools.browser.page import MAX_TITLE_CHARS, Page, plain_lines

MAX_HITS = 50
SHOWN_LINES = 4


class Found(NamedTuple):
    """What was found, as a page of its own."""

    page: Page
    places: tuple[int, ...]
    """The line on the searched page of each hit."""


def find_in(page: Page, pattern: str) -> Found:
    """Look for a text, in any case, in the lines of a page as they are without link marks.

    Each hit is shown with the lines that follow; the search goes on behind those.
    """
    lines = plain_lines(page)
    wanted = pattern.lower()
    places: list[int] = []
    at = 0
    while at < len(lines) and len(places) < MAX_HITS:
        if wanted in lines[at].lower():
            places.append(at)
            at += SHOWN_LINES
        else:
            at += 1
    parts = [
        "\n".join((f"# 【{number}†match at L{place}】", *lines[place : place + SHOWN_LINES]))
        for number, place in enumerate(places)
    ]
    shown = one_line(pattern, MAX_TITLE_CHARS // 2)
    view = Page.of_text(
        f"{page.url}/find?pattern={quote(pattern, safe='', errors='replace')}",
        f"Find results for text: `{shown}` in `{page.title}`",
        "\n\n".join(parts) or f"No `find` results for pattern: `{shown}`",
        [page.url] * len(places),
    )
    return Found(view, tuple(places))
