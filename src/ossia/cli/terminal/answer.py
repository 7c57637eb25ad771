"""Shows a turn as plain text while it comes: the answer on stdout, all else on stderr."""

from typing import TextIO

from ossia.chat.events import Event, PreambleDelta, ReasoningDelta, TextDelta, ToolFinished
from ossia.cli.given_files import GivenFiles
from ossia.cli.terminal.terminal import Writer
from ossia.cli.tool_cards import card

WAITING = "thinking ..."


class PlainAnswer:
    """Writes events; keeps no text."""

    def __init__(
        self,
        stdout: TextIO,
        stderr: TextIO,
        *,
        shows_thinking: bool,
        files: GivenFiles | None = None,
    ) -> None:
        self._files = files or GivenFiles()
        self._out, self._err = Writer(stdout), Writer(stderr)
        self._shows_thinking = shows_thinking
        self._is_thinking = False
        self._waits = False

    def show(self, event: Event) -> None:
        """Write one event."""
        match event:
            case ReasoningDelta(text) | PreambleDelta(text):
                self._think(text)
            case TextDelta(text):
                self._settle()
                self._out.write(text)
            case ToolFinished():
                self._settle()
                self._err.write(card(event, self._files), dim=True)
            case _:  # the end is `close`
                pass

    def close(self) -> None:
        """End the lines that are open; also after an interruption."""
        self._settle()
        self._out.end_line()

    def _think(self, text: str) -> None:
        if not self._shows_thinking:
            self._wait()
            return
        if not self._is_thinking:
            self._is_thinking = True
            if not self._err.takes_styles:
                self._err.write("thinking:\n")
        self._err.write(text, dim=True)

    def _wait(self) -> None:
        """Where thinking is hidden, say that it goes on."""
        if self._err.takes_styles and not self._waits:
            self._err.write(WAITING, dim=True)
            self._waits = True

    def _settle(self) -> None:
        """Leave thinking behind: a blank line after it, or the waiting line wiped out."""
        if self._waits:
            self._err.stream.write("\r\x1b[K")
            self._err.stream.flush()
            self._waits, self._err.at_line_start = False, True
        if self._is_thinking:
            self._err.end_line()
            self._err.write("\n")
            self._is_thinking = False
