"""Progress is shown on stderr, in the manner of whoever reads it."""

import io
import sys

import pytest

from ossia.cli.terminal import progress
from ossia.cli.terminal.progress import loading


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def stderr(monkeypatch):
    def become(stream):
        monkeypatch.setattr(sys, "stderr", stream)
        return stream

    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    return become


def test_quiet_is_quiet(stderr, monkeypatch):
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    seen = stderr(io.StringIO())
    with loading(quiet=True) as show:
        show("prepare", 0.5)
    assert seen.getvalue() == ""


def test_a_log_gets_a_line_now_and_then(stderr, monkeypatch):
    seen = stderr(io.StringIO())
    with loading(quiet=False) as show:
        show("prepare", 0.1)
        monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
        show("prepare", 0.5)
    assert seen.getvalue() == "ossia: prepare 50%\n"


def test_what_is_done_at_once_shows_no_bar(stderr):
    seen = stderr(Terminal())
    with loading(quiet=False) as show:
        show("prepare", 1.0)
    assert seen.getvalue() == ""


def test_a_terminal_gets_a_bar_that_goes_away(stderr, monkeypatch):
    monkeypatch.setattr(progress, "FLASH_SECONDS", 0.0)
    seen = stderr(Terminal())
    with loading(quiet=False) as show:
        show("prepare", 0.5)
    assert "prepare" in seen.getvalue()
    assert seen.getvalue().endswith("\x1b[2K")  # the last thing it does is to wipe its line
