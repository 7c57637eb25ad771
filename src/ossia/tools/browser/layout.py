"""Lays out text that comes in pieces: lines, paragraphs, lists, quotes, tables.

Knows no markup; blanks run together, and so do blank lines.
"""

import re

_BLANKS = re.compile("[ \t\n]+")
MAX_DEPTH = 12
"""Deeper lists and quotes are shown as deep as this."""


class Layout:
    """Text as it grows."""

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
        """What comes begins a line."""
        if not self._verbatim:
            self._flush(blank_too=False)

    def paragraph(self) -> None:
        """What comes stands apart."""
        self.line()
        if self._lines and self._lines[-1]:
            self._lines.append("")

    def prefix(self, lead: str) -> None:
        """What comes begins with this, if anything comes."""
        self._lead = lead

    def rule(self) -> None:
        """A line is drawn."""
        self.write("* * *")
        self.paragraph()

    def cell(self) -> None:
        """What comes is the next cell of a row."""
        if self._has_cell and not self._verbatim:
            self._line.append("| " if self._ends_blank else " | ")
            self._ends_blank = True
        self._has_cell = True

    def begin_list(self, *, numbered: bool) -> None:
        """Items come."""
        self._lists.append(0 if numbered else None)

    def end_list(self) -> None:
        """No more items."""
        if self._lists:
            self._lists.pop()

    def begin_item(self) -> None:
        """An item comes."""
        indent = "  " * min(max(len(self._lists), 1), MAX_DEPTH)
        number = self._lists[-1] if self._lists else None
        if number is None:
            self._lead = f"{indent}* "
        else:
            self._lists[-1] = number + 1
            self._lead = f"{indent}{number + 1}. "

    def begin_quote(self) -> None:
        """Somebody else's words come."""
        self._num_quotes += 1

    def end_quote(self) -> None:
        """No more of them."""
        self.line()
        self._num_quotes = max(self._num_quotes - 1, 0)

    def begin_verbatim(self) -> None:
        """Blanks and breaks count in what comes."""
        self._verbatim = True

    def end_verbatim(self) -> None:
        """They count no more."""
        if self._verbatim:
            self._flush(blank_too=False)
            self._verbatim = False

    def text(self) -> str:
        """All of it, without blank lines at its ends."""
        self._flush(blank_too=False)
        kept: list[str] = []
        for line in self._lines:
            if line or (kept and kept[-1]):
                kept.append(line)
        while kept and not kept[-1]:
            kept.pop()
        return "\n".join(kept)

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
