"""Where words come from when there is no terminal: the argument, what is piped in, or both."""

import select
from collections.abc import Iterator
from typing import BinaryIO, TextIO

import typer

from ossia.cli.terminal import is_terminal
from ossia.errors import RequestError

MAX_BYTES = 32 << 20
"""Of piped text: more than any context holds."""
PATIENCE_SECONDS = 1.0
"""After which a person is told what we wait for."""


def read_prompt(argument: str | None, stdin: TextIO | None) -> str:
    """Join the argument and the piped text, with a blank line between; `-` is the piped text alone.

    Raises:
        RequestError: the piped text is too long or no UTF-8.
        typer.BadParameter: there is no prompt at all.
    """
    named = argument if argument != "-" else None
    piped = None
    if stdin is not None and (argument == "-" or not is_terminal(stdin)):
        piped = _read(stdin.buffer)
    parts = [part for part in (named, piped) if part and part.strip()]
    if not parts:
        raise typer.BadParameter(
            "it is empty; give it as an argument or pipe it in", param_hint="PROMPT"
        )
    return "\n\n".join(parts)


def _read(stdin: BinaryIO) -> str:
    if not _arrives(stdin):
        typer.echo("ossia: waiting for the end of stdin (to give none: < /dev/null)", err=True)
    content = stdin.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise RequestError(f"stdin holds more than {MAX_BYTES >> 20} MiB; pipe in less")
    return _as_text(content).removesuffix("\n")


def read_lines(stdin: BinaryIO) -> Iterator[str]:
    """Lines as they come, without their ends.

    Raises:
        RequestError: a line is too long or no UTF-8.
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
            "no UTF-8; convert the text first, for example with iconv"
        ) from None


def _arrives(stdin: BinaryIO) -> bool:
    """Whether there is something to read, or an end, before a person would wonder."""
    try:
        return bool(select.select([stdin], [], [], PATIENCE_SECONDS)[0])
    except (OSError, ValueError):  # no descriptor to ask
        return True
