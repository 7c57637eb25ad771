"""Converts the model's citation marks to links while the text streams.

Knows the syntax of marks and citations; a callback resolves page numbers.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from ossia.server.responses.objects import Json

_MARK = re.compile("【([0-9]{1,9})†(?=[^【】]{1,64}】)(?:L([0-9]{1,9}))?[^【】]*】")
_DOMAIN = re.compile(r"\A[a-z]+://")
_BEGUN = re.compile("【(?:[0-9]{1,9}(?:†[^【】]{0,64})?)?\\Z")
"""Trailing text that may become a mark; bounded, to limit the delay."""


@dataclass(frozen=True, slots=True)
class CitedPage:
    """A page that can be cited."""

    url: str
    title: str
    domain: str


Resolve = Callable[[int, int | None], CitedPage | None]
"""Page number in the conversation, line -> the page, or None."""


def resolver(find: Callable[[int, int | None], tuple[str, str] | None]) -> Resolve:
    """Create a resolver of citations.

    Args:
        find: page number and line -> URL and title.
    """

    def resolve(number: int, line: int | None) -> CitedPage | None:
        found = find(number, line)
        if found is None:
            return None
        url, title = found
        return CitedPage(url, title, _DOMAIN.sub("", url).partition("/")[0] or url)

    return resolve


class Citations:
    """Rewrites one text that arrives in pieces."""

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve
        self._pending = ""
        self._num_sent = 0

    def push(self, text: str) -> tuple[str, list[Json]]:
        """Process a piece.

        Returns:
            The final text so far, and the citations in it; their indices count code points
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
        """Return the buffered text, which was not a mark."""
        return self._pending


def _link(page: CitedPage) -> str:
    url = page.url.replace("(", "%28").replace(")", "%29")  # else a url could end the link itself
    return f"([{page.domain}]({url}))"
