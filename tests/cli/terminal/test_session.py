"""Lines in, effects out; no terminal, no model."""

from typing import get_args

import pytest

from ossia.chat.events import Reply, Timing, Usage
from ossia.cli.terminal import session as page
from ossia.cli.terminal.session import (
    Ask,
    Leave,
    Lines,
    Load,
    Save,
    Say,
    Session,
    ShowStats,
    is_open,
)
from ossia.harmony.messages import Effort


def answer(session, text, *, reasoning="", stopped=False, usage=(10, 5, 2)):
    reply = Reply(text=text, analysis=reasoning, usage=Usage(*usage), timing=Timing(0.5, 20.0))
    session.answered(reply, stopped=stopped)


@pytest.fixture
def talked():
    """Two questions and answers."""
    session = Session()
    for question, text in (("one?", "1"), ("two?", "2")):
        assert session.enter(question) == Ask()
        answer(session, text, reasoning=f"because {text}")
    return session


def test_a_line_is_a_question(talked):
    assert talked.enter("  three?  ") == Ask()
    assert [one["content"] for one in talked.messages()] == ["one?", "1", "two?", "2", "three?"]
    assert [one["role"] for one in talked.messages()][-2:] == ["assistant", "user"]


def test_an_empty_line_asks_nothing():
    session = Session()
    assert session.enter("   ") == Say("")
    assert session.enter('"""  """') == Say("")
    assert session.messages() == []


@pytest.mark.parametrize("text", ["/etc/hosts says what?", "/ is a slash", "/2 is a half", "//"])
def test_what_is_no_command_is_a_question(text):
    session = Session()
    assert session.enter(text) == Ask()
    assert session.messages()[-1]["content"] == text


def test_quotes_take_a_command_literally():
    session = Session()
    assert session.enter('"""\n/help\nme\n"""') == Ask()
    assert session.messages()[-1]["content"] == "/help\nme"


def test_an_unknown_command_is_told_and_asked_of_nobody(talked):
    before = list(talked.turns)
    assert talked.enter("/sing") == Say("there is no command /sing; /help lists them")
    assert talked.turns == before


def test_help_names_every_command():
    told = Session().enter("/help").text
    assert all(command.usage in told for command in page.COMMANDS.values())


def test_retry_asks_the_last_question_again(talked):
    assert talked.enter("/retry") == Ask()
    assert [one["content"] for one in talked.messages()] == ["one?", "1", "two?"]


def test_undo_forgets_the_last_question_and_its_answer(talked):
    assert talked.enter("/undo") == Say("forgot: two?")
    assert [one["content"] for one in talked.messages()] == ["one?", "1"]


@pytest.mark.parametrize("command", ["/retry", "/undo"])
def test_without_a_question_there_is_nothing_to_take_back(command):
    session = Session()
    assert isinstance(session.enter(command), Say)
    assert session.turns == []


def test_clear_keeps_effort_and_instructions(talked):
    talked.enter("/effort high")
    talked.enter("/system Be short.")
    talked.enter("/clear")
    assert (talked.messages(), talked.effort, talked.instructions) == ([], "high", "Be short.")


def test_effort_is_one_of_three(talked):
    assert talked.enter("/effort low") == Say("effort is low from now on")
    assert talked.enter("/effort huge") == Say("effort is 'huge'; expected low, medium or high")
    assert talked.enter("/effort") == Say("effort is low")


def test_the_efforts_are_those_of_the_language():
    assert get_args(page.Effort) == get_args(Effort)


def test_instructions_can_be_given_seen_and_dropped():
    session = Session()
    assert session.enter("/system") == Say("instructions: none")
    session.enter("/system Answer in German.")
    assert session.enter("/system") == Say("instructions: Answer in German.")
    session.enter("/system none")
    assert session.instructions is None


def test_thinking_is_folded_unfolded_and_shown_once_more(talked):
    talked.enter("/think hide")
    assert not talked.shows_thinking
    assert talked.enter("/think") == Say("because 2")
    talked.enter("/think show")
    assert talked.shows_thinking
    assert "expected" in talked.enter("/think loud").text


@pytest.mark.parametrize(
    ("line", "effect"),
    [
        ("/save my talk.json", Save("my talk.json")),
        ("/load x", Load("x")),
        ("/stats", ShowStats()),
        ("/bye", Leave()),
        ("/exit", Leave()),
        ("/quit", Leave()),
    ],
)
def test_commands_for_the_world_outside(line, effect):
    assert Session().enter(line) == effect


@pytest.mark.parametrize("command", ["/save", "/load"])
def test_a_file_command_wants_a_file(command):
    assert Session().enter(command) == Say(f"expected a file: {command} FILE")


def test_a_stopped_answer_keeps_what_was_said(talked):
    talked.enter("three?")
    answer(talked, "thr", stopped=True)
    assert talked.messages()[-1] == {"role": "assistant", "content": "thr"}
    assert not talked.turns[-1].is_whole


def test_an_answer_stopped_while_thinking_leaves_no_empty_message(talked):
    talked.enter("three?")
    answer(talked, "", reasoning="hm", stopped=True)
    assert talked.messages()[-1] == {"role": "user", "content": "three?"}
    assert talked.enter("/think") == Say("hm")


def test_a_refused_question_leaves_no_trace(talked):
    talked.enter("too long")
    talked.refused()
    assert len(talked.turns) == 2


def test_a_refused_retry_keeps_the_old_answer(talked):
    talked.enter("/retry")
    talked.refused()
    assert talked.messages()[-1]["content"] == "2"


def test_counts_add_up_over_answers(talked):
    assert talked.usage == Usage(20, 10, 4)
    assert talked.num_answers == 2


def test_lines_between_triple_quotes_are_one_message():
    lines = Lines()
    assert lines.push("one") == "one"
    assert lines.push('"""two') is None
    assert lines.push("three") is None
    assert lines.push('four"""') == '"""two\nthree\nfour"""'
    assert lines.push("five") == "five"
    assert lines.close() is None


def test_an_unclosed_message_is_whole_when_the_lines_end():
    lines = Lines()
    lines.push('"""a')
    assert lines.close() == '"""a'


@pytest.mark.parametrize(
    ("text", "expected"),
    [('"""', True), ('""""', True), ('""""""', False), ('"""a', True), ('"""a"""', False)],
)
def test_a_message_is_open_until_its_quotes_close(text, expected):
    assert is_open(text) is expected
    assert not is_open("plain")
