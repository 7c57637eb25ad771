"""The answer on stdout, thinking on stderr, in the order of events."""

import io

import pytest

from ossia.chat.events import Finished, PreambleDelta, ReasoningDelta, TextDelta, Timing, Usage
from ossia.cli.terminal.answer import WAITING, PlainAnswer

TURN = (ReasoningDelta("hm, "), ReasoningDelta("yes"), TextDelta("It is "), TextDelta("85."))
END = Finished("stop", Usage(), Timing())


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def _colours(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")


def shown(events, stream=io.StringIO, *, shows_thinking=True):
    out, err = stream(), stream()
    answer = PlainAnswer(out, err, shows_thinking=shows_thinking)
    for event in events:
        answer.show(event)
    answer.close()
    return out.getvalue(), err.getvalue()


def test_a_file_gets_the_answer_and_a_log_the_thinking():
    assert shown((*TURN, END)) == ("It is 85.\n", "thinking:\nhm, yes\n\n")


def test_hidden_thinking_leaves_no_trace():
    assert shown(TURN, shows_thinking=False) == ("It is 85.\n", "")


def test_a_terminal_dims_thinking():
    out, err = shown(TURN, Terminal)
    assert out == "It is 85.\n"
    assert err == "\x1b[2mhm, \x1b[0m\x1b[2myes\x1b[0m\n\n"


def test_a_terminal_is_told_that_hidden_thinking_goes_on_and_then_not():
    out, err = shown(TURN, Terminal, shows_thinking=False)
    assert out == "It is 85.\n"
    assert err == f"\x1b[2m{WAITING}\x1b[0m\r\x1b[K"


def test_an_interrupted_thought_ends_its_line():
    assert shown(TURN[:1]) == ("", "thinking:\nhm, \n\n")


def test_what_is_said_before_a_tool_is_no_answer():
    assert shown((PreambleDelta("I look."), TextDelta("Found."))) == (
        "Found.\n",
        "thinking:\nI look.\n\n",
    )


def test_an_answer_with_its_own_newline_gets_no_second_one():
    assert shown((TextDelta("a\n"),)) == ("a\n", "")
