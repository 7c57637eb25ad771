"""Lines in, effects out; no terminal, no model."""

import json
import os
import stat
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ossia.chat.events import Reply, Timing, Usage
from ossia.cli.terminal import session as page
from ossia.cli.terminal.session import (
    Ask,
    ChatSession,
    ChatTurn,
    Leave,
    Lines,
    LoadChat,
    SaveChat,
    Say,
    ShowStats,
    is_open,
    load_chat,
    save_chat,
)
from ossia.errors import RequestError
from ossia.harmony.messages import Effort, Message


def answer(session, text, *, reasoning="", stopped=False, usage=(10, 5, 2)):
    reply = Reply(text=text, analysis=reasoning, usage=Usage(*usage), timing=Timing(0.5, 20.0))
    session.answered(reply, stopped=stopped)


@pytest.fixture
def talked():
    """Two questions and answers."""
    session = ChatSession()
    for question, text in (("one?", "1"), ("two?", "2")):
        assert session.enter(question) == Ask()
        answer(session, text, reasoning=f"because {text}")
    return session


def test_a_line_is_a_question(talked):
    assert talked.enter("  three?  ") == Ask()
    assert [one["content"] for one in talked.messages()] == ["one?", "1", "two?", "2", "three?"]
    assert [one["role"] for one in talked.messages()][-2:] == ["assistant", "user"]


def test_an_empty_line_asks_nothing():
    session = ChatSession()
    assert session.enter("   ") == Say("")
    assert session.enter('"""  """') == Say("")
    assert session.messages() == []


@pytest.mark.parametrize("text", ["/etc/hosts says what?", "/ is a slash", "/2 is a half", "//"])
def test_what_is_no_command_is_a_question(text):
    session = ChatSession()
    assert session.enter(text) == Ask()
    assert session.messages()[-1]["content"] == text


def test_quotes_take_a_command_literally():
    session = ChatSession()
    assert session.enter('"""\n/help\nme\n"""') == Ask()
    assert session.messages()[-1]["content"] == "/help\nme"


def test_an_unknown_command_is_told_and_asked_of_nobody(talked):
    before = list(talked.turns)
    assert talked.enter("/sing") == Say("there is no command /sing; /help lists them")
    assert talked.turns == before


def test_help_names_every_command():
    overview = ChatSession().enter("/help").text
    assert all(command.usage in overview for command in page.COMMANDS.values())


def test_retry_asks_the_last_question_again(talked):
    assert talked.enter("/retry") == Ask()
    assert [one["content"] for one in talked.messages()] == ["one?", "1", "two?"]


def test_undo_forgets_the_last_question_and_its_answer(talked):
    assert talked.enter("/undo") == Say("removed: two?")
    assert [one["content"] for one in talked.messages()] == ["one?", "1"]


@pytest.mark.parametrize("command", ["/retry", "/undo"])
def test_without_a_question_there_is_nothing_to_take_back(command):
    session = ChatSession()
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
    session = ChatSession()
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
        ("/save my talk.json", SaveChat("my talk.json")),
        ("/load x", LoadChat("x")),
        ("/stats", ShowStats()),
        ("/bye", Leave()),
        ("/exit", Leave()),
        ("/quit", Leave()),
    ],
)
def test_commands_for_the_world_outside(line, effect):
    assert ChatSession().enter(line) == effect


@pytest.mark.parametrize("command", ["/save", "/load"])
def test_a_file_command_wants_a_file(command):
    assert ChatSession().enter(command) == Say(f"expected a file: {command} FILE")


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


def test_thinking_around_a_tool_call_is_on_lines_of_its_own(talked):
    talked.enter("three?")
    thought = Message(role="assistant", content="I search.", channel="analysis")
    reply = Reply(analysis="I search.It says red", messages=[thought])
    talked.answered(reply, stopped=True)
    assert talked.enter("/think") == Say("I search.\nIt says red")


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


TURN = ChatTurn(question="Wie geht's?\n", answer="gut \ud83d", reasoning="\x1b[1m", is_whole=True)


@pytest.fixture
def session():
    return ChatSession(effort="high", instructions="short", turns=[TURN, ChatTurn(question="und?")])


def test_what_was_kept_comes_back(session, saved):
    save_chat(session, str(saved), "nano")
    back = load_chat(str(saved))
    assert (back.effort, back.instructions, back.turns) == ("high", "short", session.turns)


def test_only_its_owner_reads_the_file(session, saved):
    save_chat(session, str(saved), "nano")
    assert stat.S_IMODE(saved.stat().st_mode) == 0o600


def test_a_kept_conversation_may_be_replaced(session, saved):
    save_chat(ChatSession(), str(saved), "nano")
    save_chat(session, str(saved), "nano")
    assert len(load_chat(str(saved)).turns) == 2


def test_no_other_file_is_replaced(session, saved):
    saved.write_text("my novel")
    with pytest.raises(RequestError, match="exists and is not a saved conversation"):
        save_chat(session, str(saved), "nano")
    assert saved.read_text() == "my novel"


def test_a_failed_write_leaves_the_old_file_and_no_litter(session, saved, monkeypatch):
    save_chat(ChatSession(), str(saved), "nano")

    def broken(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(RequestError, match=r"cannot be written: No space left"):
        save_chat(session, str(saved), "nano")
    assert load_chat(str(saved)).turns == []
    assert os.listdir(saved.parent) == [saved.name]


def test_a_link_is_followed_not_replaced(session, saved, tmp_path):
    save_chat(ChatSession(), str(saved), "nano")
    link = tmp_path / "link"
    link.symlink_to(saved)
    save_chat(session, str(link), "nano")
    assert link.is_symlink()
    assert len(load_chat(str(saved)).turns) == 2


@pytest.mark.parametrize("path", ["nowhere/talk.json", "", "a\0b"])
def test_a_place_that_cannot_be_is_refused(session, path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RequestError):
        save_chat(session, path, "nano")
    with pytest.raises(RequestError):
        load_chat(path)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RequestError, match="is not JSON"):
        load_chat(str(tmp_path / "pipe"))


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[]", "is not a saved conversation"),
        (b'{"format": "other"}', "is not a saved conversation"),
        (b'{"format": "ossia-conversation", "version": 2}', "has version 2; this ossia reads"),
        (b'{"format": "ossia-conversation", "version": 1}', "was changed"),
    ],
)
def test_another_file_is_refused(saved, content, found):
    saved.write_bytes(content)
    with pytest.raises(RequestError, match=found):
        load_chat(str(saved))


@pytest.mark.parametrize(
    "change",
    [
        {"effort": "huge"},
        {"instructions": 3},
        {"turns": {}},
        {"turns": [{"question": "?"}]},
        {"turns": [{"question": 1, "answer": "", "reasoning": "", "is_whole": True}]},
        {"turns": [{"question": "", "answer": "", "reasoning": "", "is_whole": 1}]},
    ],
)
def test_a_changed_file_is_refused(session, saved, change):
    save_chat(session, str(saved), "nano")
    saved.write_text(json.dumps(json.loads(saved.read_text()) | change))
    with pytest.raises(RequestError, match="was changed"):
        load_chat(str(saved))


def test_a_file_beyond_measure_is_refused(saved, monkeypatch):
    monkeypatch.setattr(page, "MAX_BYTES", 10)
    saved.write_text(json.dumps("x" * 20))
    with pytest.raises(RequestError, match="is not JSON"):
        load_chat(str(saved))


any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@settings(max_examples=50, deadline=None)
@given(st.fixed_dictionaries({}, optional=dict.fromkeys(("effort", "instructions"), any_json)))
def test_whatever_stands_there_is_loaded_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_text(json.dumps({"format": page.FORMAT, "version": 1, "turns": []} | content))
    try:
        loaded = load_chat(str(path))
    except RequestError:
        return
    assert loaded.turns == []
