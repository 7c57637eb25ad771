"""The marks by which the model cites pages, made into links while the text streams.

Knows how a mark and a citation are written; a callback says what page a number means.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from ossia.server.responses.objects import Json

_MARK = re.compile("【([0-9]{1,9})†(?=[^【】]{1,64}】)(?:L([0-9]{1,9}))?[^【】]*】")
_DOMAIN = re.compile(r"\A[a-z]+://")
_BEGUN = re.compile("【(?:[0-9]{1,9}(?:†[^【】]{0,64})?)?\\Z")
"""A trailing text that may yet become a mark; bounded, so that no text waits for long."""


@dataclass(frozen=True, slots=True)
class CitedPage:
    """What can be cited."""

    url: str
    title: str
    domain: str


Resolve = Callable[[int, int | None], CitedPage | None]
"""A page's number in the conversation and the line that is meant -> the page, or None."""


def resolver(find: Callable[[int, int | None], tuple[str, str] | None]) -> Resolve:
    """Cite what `find` finds.

    Args:
        find: a page's number and a line -> its URL and title.
    """

    def resolve(number: int, line: int | None) -> CitedPage | None:
        found = find(number, line)
        if found is None:
            return None
        url, title = found
        return CitedPage(url, title, _DOMAIN.sub("", url).partition("/")[0] or url)

    return resolve


class Citations:
    """Rewrites one text, given in any pieces."""

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve
        self._pending = ""
        self._num_sent = 0

    def push(self, text: str) -> tuple[str, list[Json]]:
        """Take in a piece.

        Returns:
            The text that is certain now, and the citations in it; their indices count code points
            from the beginning of the whole new text.
        """
        text = self._pending + text
        begun = _BEGUN.search(text)
        end = begun.start() if begun else len(text)
        self._pending = text[end:]
        pieces, cited, read = [], [], 0
        at = self._num_sent
        for mark in _MARK.finditer(text, 0, end):
            page = self._resolve(int(mark[1]), int(mark[2]) if mark[2] else None)
            if page is None:
                continue  # an unknown mark stays as it is
            before, link = text[read : mark.start()], _link(page)
            start = at + len(before) + 1  # behind the blank
            cited.append(
                {
                    "type": "url_citation",
                    "start_index": start,
                    "end_index": start + len(link),
                    "title": page.title,
                    "url": page.url,
                }
            )
            pieces += [before, f" {link} "]
            at = start + len(link) + 1
            read = mark.end()
        pieces.append(text[read:end])
        self._num_sent = at + end - read
        return "".join(pieces), cited

    def close(self) -> str:
        """What was held back: no mark after all."""
        return self._pending


def _link(page: CitedPage) -> str:
    url = page.url.replace("(", "%28").replace(")", "%29")  # else a url could end the link itself
    return f"([{page.domain}]({url}))"
