"""Prints an answer as plain text while it streams, its tool calls as cards; saves tools' files.

The answer goes to stdout, everything else to stderr.
"""

import errno
import os
import re
from pathlib import Path
from typing import TextIO

from ossia.chat.events import Event, PreambleDelta, ReasoningDelta, TextDelta, ToolFinished
from ossia.cli.terminal.terminal import Writer, harmless
from ossia.errors import RequestError
from ossia.tools.tool import Attachment

MAX_LINES = 12
MAX_COLUMNS = 200
"""Limits of each text on the card of a tool call."""
MAX_NAME_CHARS = 100
_MAX_NUMBER = 10_000
WAITING = "thinking ..."


class AttachmentFolder:
    """The folder in which tools' files are saved, if any; never overwrites a file."""

    def __init__(self, folder: Path | None = None) -> None:
        """Create the folder if it is missing.

        Raises:
            RequestError: it cannot be created.
        """
        self._folder = folder
        if folder is not None:
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise RequestError(
                    f"--files {folder}: {error.strerror}; name a folder that can be written"
                ) from None

    def save(self, file: Attachment) -> Path | None:
        """Write a file under an unused name; return its path, or None without a folder.

        Raises:
            OSError: the file cannot be written.
        """
        if self._folder is None:
            return None
        name = Path(_one_name(file.name))
        for number in range(1, _MAX_NUMBER):
            tried = name if number == 1 else name.with_stem(f"{name.stem}-{number}")
            try:
                with (self._folder / tried).open("xb") as written:
                    written.write(file.content)
            except FileExistsError:
                continue
            return self._folder / tried
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))

    def describe(self, file: Attachment) -> str:
        """Save a file; return one line with its path and size, or why it was not saved."""
        size = f"{len(file.content)} bytes"
        try:
            path = self.save(file)
        except OSError as error:
            return f"{file.name}, {size}, not saved: {error.strerror}"
        return f"{path or file.name}, {size}"


def _one_name(name: str) -> str:
    """Make a plain file name: not hidden, without folders or control characters."""
    last = re.sub(r"[^\w .()+=@-]", "_", name.rpartition("/")[2]).lstrip(". ")[-MAX_NAME_CHARS:]
    return last.lstrip(". ") or "file"


def card(ran: ToolFinished, files: AttachmentFolder) -> str:
    """Describe a tool call in lines for a terminal; long texts are cut in the middle.

    Args:
        ran: the call.
        files: where its files are saved, so make a card only once.
    """
    outcome = "failed" if ran.result.is_error else "ran"
    lines = [f"[{ran.name} {outcome}, {ran.seconds:.2f} s]"]
    lines += [f"  > {line}" for line in _cut(ran.arguments)]
    lines += [f"  {line}" for line in _cut(ran.result.text)]
    lines += [f"  + {harmless(files.describe(each))}" for each in ran.result.attachments]
    return "".join(f"{line}\n" for line in lines)


def _cut(text: str) -> list[str]:
    lines = [harmless(line)[:MAX_COLUMNS] for line in text.splitlines()]
    if len(lines) <= MAX_LINES:
        return lines
    left_out = len(lines) - MAX_LINES + 1
    return [*lines[: MAX_LINES - 4], f"... {left_out} lines ...", *lines[-3:]]


class PlainAnswer:
    """Writes each event as it arrives."""

    def __init__(
        self,
        stdout: TextIO,
        stderr: TextIO,
        *,
        shows_thinking: bool,
        files: AttachmentFolder | None = None,
    ) -> None:
        self._files = files or AttachmentFolder()
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
            case _:  # `close` ends the answer
                pass

    def close(self) -> None:
        """End unfinished lines, also after an interruption."""
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
        """Show that the model is thinking, where its thoughts are hidden."""
        if self._err.takes_styles and not self._waits:
            self._err.write(WAITING, dim=True)
            self._waits = True

    def _settle(self) -> None:
        """End the thinking: print a blank line after it, or erase the waiting line."""
        if self._waits:
            self._err.stream.write("\r\x1b[K")
            self._err.stream.flush()
            self._waits, self._err.at_line_start = False, True
        if self._is_thinking:
            self._err.end_line()
            self._err.write("\n")
            self._is_thinking = False
