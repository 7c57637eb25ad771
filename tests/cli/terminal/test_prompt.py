"""The prompt of `run`: argument, pipe, or both."""

import io
import os
import threading

import pytest
import typer

from ossia.cli.terminal import prompt
from ossia.cli.terminal.prompt import read_lines, read_prompt
from ossia.errors import RequestError


def piped(content):
    return io.TextIOWrapper(io.BytesIO(content if isinstance(content, bytes) else content.encode()))


class Keyboard(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("argument", "stdin", "expected"),
    [
        ("Hi", Keyboard("never read"), "Hi"),
        ("Hi", None, "Hi"),
        ("Hi", piped(""), "Hi"),
        ("Sum up:", piped("a\nb\n"), "Sum up:\n\na\nb"),
        (None, piped("a\n"), "a"),
        ("-", piped(" a \r\n\n"), " a \r\n"),
    ],
)
def test_the_prompt_is_the_argument_then_the_pipe(argument, stdin, expected):
    assert read_prompt(argument, stdin) == expected


@pytest.mark.parametrize(
    ("argument", "stdin"),
    [(None, Keyboard()), (None, None), (None, piped("")), ("", piped(" \n")), ("-", piped(""))],
)
def test_nothing_is_no_prompt(argument, stdin):
    with pytest.raises(typer.BadParameter, match="is empty"):
        read_prompt(argument, stdin)


def test_bytes_that_are_no_text_are_refused():
    with pytest.raises(RequestError, match="byte 0xff after 2 others, which is not UTF-8"):
        read_prompt(None, piped(b"ab\xff"))


def test_a_flood_is_refused(monkeypatch):
    monkeypatch.setattr(prompt, "MAX_BYTES", 1 << 20)
    with pytest.raises(RequestError, match="more than 1 MiB"):
        read_prompt(None, piped(b"a" * ((1 << 20) + 1)))


def test_beside_an_argument_a_silent_pipe_is_not_waited_for(monkeypatch, capsys):
    monkeypatch.setattr(prompt, "PATIENCE_SECONDS", 0.0)
    read_end, write_end = os.pipe()
    with open(read_end) as stdin, open(write_end, "w"):
        assert read_prompt("Hi", stdin) == "Hi"
    assert "nothing came from stdin" in capsys.readouterr().err


@pytest.mark.parametrize("argument", [None, "-"])
def test_without_an_argument_the_end_of_the_pipe_is_waited_for(monkeypatch, argument):
    monkeypatch.setattr(prompt, "PATIENCE_SECONDS", 0.0)
    read_end, write_end = os.pipe()

    def speak():
        os.write(write_end, b"late")
        os.close(write_end)

    speaker = threading.Timer(0.2, speak)
    speaker.start()
    with open(read_end) as stdin:
        assert read_prompt(argument, stdin) == "late"
    speaker.join()


def test_lines_come_one_by_one_without_their_ends():
    assert list(read_lines(io.BytesIO(b"a\r\n\nb"))) == ["a", "", "b"]


@pytest.mark.parametrize("line", [b"\xff", b"a" * 20])
def test_a_line_beyond_measure_or_no_text_is_refused(monkeypatch, line):
    monkeypatch.setattr(prompt, "MAX_BYTES", 10)
    with pytest.raises(RequestError):
        list(read_lines(io.BytesIO(line)))
