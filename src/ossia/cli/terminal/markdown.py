"""Splits streaming markdown into finished blocks and an unfinished tail.

Finished blocks are drawn once and may scroll away; only the tail is redrawn.
"""

import re

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_LIST_ITEM = re.compile(r"([-*+]|\d{1,9}[.)])\s")


class Blocks:
    """Splits text that arrives in pieces; the blocks and the tail together are the text."""

    def __init__(self) -> None:
        self.tail = ""
        self._lines: list[str] = []  # complete lines of the open block
        self._partial = ""
        self._fence = ""
        self._gap = False  # the last complete line is blank, outside any fence

    def push(self, text: str) -> list[str]:
        """Add text; return the blocks that are now finished."""
        *lines, self._partial = (self._partial + text).split("\n")
        closed = [block for line in lines for block in self._line(line)]
        if self._gap and self._begins_block(self._partial):
            closed.extend(self._cut())
        self.tail = "\n".join((*self._lines, self._partial))
        return closed

    def _line(self, line: str) -> list[str]:
        closed = self._cut() if self._gap and self._begins_block(line) else []
        self._lines.append(line)
        fence = _FENCE.match(line)
        if self._fence:
            if fence and fence[1].startswith(self._fence) and not line[fence.end() :].strip():
                self._fence = ""
        elif fence:
            self._fence = fence[1]
        self._gap = not self._fence and not line.strip()
        return closed

    def _begins_block(self, line: str) -> bool:
        """Whether this line, after a blank one, certainly starts a new block."""
        if not line.strip() or line.startswith((" ", "\t")):
            return False
        first = next((each for each in self._lines if each.strip()), "")
        # A list may go on after a blank line; a few characters may yet become a list's mark.
        return not _LIST_ITEM.match(first) or (len(line) > 12 and not _LIST_ITEM.match(line))

    def _cut(self) -> list[str]:
        block = "\n".join(self._lines).strip("\n")
        self._lines, self._gap = [], False
        return [block] if block else []
