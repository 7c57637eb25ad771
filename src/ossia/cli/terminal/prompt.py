"""Reads the prompt from the argument, from stdin, or from both."""

import select
from collections.abc import Iterator
from typing import BinaryIO, TextIO

import typer

from ossia.cli.terminal.terminal import is_terminal
from ossia.errors import RequestError

MAX_BYTES = 32 << 20
"""Limit of piped text: more than any context holds."""
PATIENCE_SECONDS = 1.0
"""How long to wait for a silent pipe beside a prompt argument."""


def read_prompt(argument: str | None, stdin: TextIO | None) -> str:
    """Join the argument and the piped text, with a blank line between; `-`: the piped text alone.

    Beside an argument, a pipe that stays silent is ignored, since its writer may never close it.

    Raises:
        RequestError: the piped text is too long or not UTF-8.
        typer.BadParameter: the prompt is empty.
    """
    named = argument if argument != "-" else None
    piped = None
    if stdin is not None and (argument == "-" or not is_terminal(stdin)):
        if named is None or _arrives(stdin.buffer):
            piped = _read(stdin.buffer)
        else:
            typer.echo(
                "ossia: nothing came from stdin, so it is ignored; with - ossia waits for it",
                err=True,
            )
    parts = [part for part in (named, piped) if part and part.strip()]
    if not parts:
        raise typer.BadParameter(
            "it is empty; give it as an argument or pipe it in", param_hint="PROMPT"
        )
    return "\n\n".join(parts)


def _read(stdin: BinaryIO) -> str:
    content = stdin.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise RequestError(f"stdin holds more than {MAX_BYTES >> 20} MiB; pipe in less")
    return _as_text(content).removesuffix("\n")


def read_lines(stdin: BinaryIO) -> Iterator[str]:
    """Yield lines as they arrive, without line ends.

    Raises:
        RequestError: a line is too long or not UTF-8.
    """
    while line := stdin.readline(MAX_BYTES + 1):
        if len(line) > MAX_BYTES:
            raise RequestError(f"a line of stdin has more than {MAX_BYTES >> 20} MiB; break it up")
        yield _as_text(line).rstrip("\r\n")


def _as_text(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise RequestError(
            f"stdin has the byte 0x{content[error.start]:02x} after {error.start} others, which is "
            "not UTF-8; convert the text first, for example with iconv"
        ) from None


def _arrives(stdin: BinaryIO) -> bool:
    """Whether stdin has data, or has ended, within the time to wait."""
    try:
        return bool(select.select([stdin], [], [], PATIENCE_SECONDS)[0])
    except (OSError, ValueError):  # it has no descriptor
        return True
