"""Matches the hunks of a patch to a file and computes its new lines.

Knows lines without their ends; knows no file and no encoding.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from itertools import accumulate

from ossia.tools.patch.parse import Hunk, PatchRefused

_SPELLINGS: tuple[Callable[[str], str], ...] = (str, str.rstrip, str.strip)
"""How lines are compared: as they are first, then without blanks at the end, then at both."""

Patched = list[int | str]
"""Each line afterwards: the number of the old line that it is, or a new line's text."""


class _Text:
    """Lines in one spelling, to be searched as one string."""

    def __init__(self, lines: Sequence[str], spelling: Callable[[str], str]) -> None:
        self._spelling = spelling
        spelt = [spelling(line) for line in lines]
        self._text = "\n" + "".join(f"{line}\n" for line in spelt)
        self._starts = list(accumulate((len(line) + 1 for line in spelt), initial=0))

    def find(self, wanted: Sequence[str], start: int) -> int | None:
        """The first line from `start` on where these follow each other."""
        needle = "\n" + "".join(f"{self._spelling(line)}\n" for line in wanted)
        found = self._text.find(needle, self._starts[start])
        return None if found < 0 else bisect_left(self._starts, found)


class _Place:
    """Matches hunks from the top of a file down."""

    def __init__(self, lines: Sequence[str]) -> None:
        self._lines = lines
        self._texts: dict[int, _Text] = {}
        self._next = 0  # first line behind the last hunk

    def find(self, hunk: Hunk) -> int:
        """The line where a hunk begins.

        Raises:
            PatchRefused: nowhere, or in more places than one.
        """
        for anchor in hunk.anchors:
            self._next = self._behind(anchor)
        old = hunk.old
        if not old and (hunk.at_end or not hunk.anchors):
            start = len(self._lines)
        elif not old:
            start = self._next
        else:
            start = self._of_lines(old, at_end=hunk.at_end)
        self._next = start + len(old)
        return start

    def _behind(self, anchor: str) -> int:
        """The line below an anchor; one that was passed already leaves the place as it is."""
        if (found := self._first([anchor], self._next, "the anchor")) is not None:
            return found + 1
        if self._first([anchor], 0, None) is not None:
            return self._next
        raise PatchRefused(f"the anchor {_shown([anchor])} is not in the file")

    def _of_lines(self, old: list[str], *, at_end: bool) -> int:
        last = len(self._lines) - len(old)
        if at_end and last >= self._next and self._first(old, last, None) is not None:
            return last
        if (found := self._first(old, self._next, "the lines")) is not None:
            return found
        here = {line.strip() for line in self._lines}
        missing = [line for line in old if line.strip() not in here]
        why = f"not in the file: {_shown(missing)}" if missing else "all there, but not in a row"
        above = f" below line {self._next}" if self._next else ""
        raise PatchRefused(f"these lines were not found{above}: {_shown(old)}; {why}")

    def _first(self, wanted: list[str], start: int, what: str | None) -> int | None:
        """The first place from `start` on, in the first spelling that has one.

        Args:
            wanted: at least one line.
            start: where to begin.
            what: named when an inexact place is not the only one; None where any will do.
        """
        for number in range(len(_SPELLINGS)):
            text = self._spelt(number)
            if (found := text.find(wanted, start)) is None:
                continue
            if number and what and text.find(wanted, found + 1) is not None:
                raise PatchRefused(
                    f"{what} {_shown(wanted)} stand nowhere as given, and but for blanks in more "
                    "than one place; copy them exactly, or more of them"
                )
            return found
        return None

    def _spelt(self, number: int) -> _Text:
        if number not in self._texts:
            self._texts[number] = _Text(self._lines, _SPELLINGS[number])
        return self._texts[number]


def patched(lines: Sequence[str], hunks: Sequence[Hunk]) -> Patched:
    """The file's lines after all hunks.

    Args:
        lines: without line ends.
        hunks: in the order of the file.

    Raises:
        PatchRefused: a hunk fits nowhere, or in more than one place; the message names it.
    """
    place = _Place(lines)
    result: Patched = []
    done = 0
    for number, hunk in enumerate(hunks, start=1):
        try:
            at = place.find(hunk)
        except PatchRefused as error:
            raise PatchRefused(f"hunk {number}: {error}") from None
        result += range(done, at)
        for mark, text in hunk.lines:
            if mark == " ":
                result.append(at)
            elif mark == "+":
                result.append(text)
            at += mark != "+"
        done = at
    return [*result, *range(done, len(lines))]


def _shown(lines: Sequence[str]) -> str:
    """The first few, each cut to what shows which it is."""
    some = ", ".join(repr(line if len(line) <= 120 else f"{line[:119]}…") for line in lines[:5])
    return some if len(lines) <= 5 else f"{some} and {len(lines) - 5} more"
