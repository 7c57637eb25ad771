"""What reaches a terminal cannot command it; what reaches a file is exact."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ossia.cli.terminal.terminal import Writer, as_bytes, as_count, as_table, harmless, takes_styles


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")


@given(st.text())
def test_no_control_character_survives_but_newline_and_tab(text):
    shown = harmless(text)
    assert all(c in "\n\t" or (c >= " " and not "\x7f" <= c <= "\x9f") for c in shown)
    assert not set(shown) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


@given(st.text(st.characters(exclude_categories=("Cc", "Cf", "Cs"))))
def test_ordinary_text_is_unchanged(text):
    assert harmless(text + "\n\t") == text + "\n\t"


def test_control_characters_are_seen():
    assert harmless("\x1b]0;gotcha\x07\r\n") == "␛]0;gotcha␇\n"


def test_a_file_gets_the_exact_text():
    stream = io.StringIO()
    Writer(stream).write("\x1b[31m\r\n", dim=True)
    assert stream.getvalue() == "\x1b[31m\r\n"


def test_dim_text_ends_its_own_dimness():
    stream = Terminal()
    Writer(stream).write("a\x1bb", dim=True)
    assert stream.getvalue() == "\x1b[2ma␛b\x1b[0m"


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_no_styles_where_none_are_wanted(monkeypatch, name, value):
    assert takes_styles(Terminal())
    monkeypatch.setenv(name, value)
    assert not takes_styles(Terminal())


def test_a_line_is_ended_once():
    stream = io.StringIO()
    writer = Writer(stream)
    writer.end_line()
    writer.write("a")
    writer.end_line()
    writer.end_line()
    assert stream.getvalue() == "a\n"


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (999_600, "1 MB"), (13_761_264_768, "13.8 GB")],
)
def test_bytes(count, shown):
    assert as_bytes(count) == shown


@pytest.mark.parametrize(
    ("count", "shown"), [(12, "12"), (416_000, "416 thousand"), (20_914_757_184, "20.9 billion")]
)
def test_counts(count, shown):
    assert as_count(count) == shown


def test_a_table_stands_in_columns():
    assert as_table({"a": "1", "long": "2"}) == "a     1\nlong  2"
