"""Kept conversations come back whole, or are refused in one sentence."""

import json
import os
import stat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ossia.cli import kept
from ossia.cli.terminal.session import Session, Turn
from ossia.errors import RequestError

TURN = Turn(question="Wie geht's?\n", answer="gut \ud83d", reasoning="\x1b[1m", is_whole=True)


@pytest.fixture
def session():
    return Session(effort="high", instructions="short", turns=[TURN, Turn(question="und?")])


def test_what_was_kept_comes_back(session, saved):
    kept.save(session, str(saved), "nano")
    back = kept.load(str(saved))
    assert (back.effort, back.instructions, back.turns) == ("high", "short", session.turns)


def test_only_its_owner_reads_the_file(session, saved):
    kept.save(session, str(saved), "nano")
    assert stat.S_IMODE(saved.stat().st_mode) == 0o600


def test_a_kept_conversation_may_be_replaced(session, saved):
    kept.save(Session(), str(saved), "nano")
    kept.save(session, str(saved), "nano")
    assert len(kept.load(str(saved)).turns) == 2


def test_no_other_file_is_replaced(session, saved):
    saved.write_text("my novel")
    with pytest.raises(RequestError, match="exists and is no kept conversation"):
        kept.save(session, str(saved), "nano")
    assert saved.read_text() == "my novel"


def test_a_failed_write_leaves_the_old_file_and_no_litter(session, saved, monkeypatch):
    kept.save(Session(), str(saved), "nano")

    def broken(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(RequestError, match=r"cannot be written: No space left"):
        kept.save(session, str(saved), "nano")
    assert kept.load(str(saved)).turns == []
    assert os.listdir(saved.parent) == [saved.name]


def test_a_link_is_followed_not_replaced(session, saved, tmp_path):
    kept.save(Session(), str(saved), "nano")
    link = tmp_path / "link"
    link.symlink_to(saved)
    kept.save(session, str(link), "nano")
    assert link.is_symlink()
    assert len(kept.load(str(saved)).turns) == 2


@pytest.mark.parametrize("path", ["nowhere/talk.json", "", "a\0b"])
def test_a_place_that_cannot_be_is_refused(session, path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RequestError):
        kept.save(session, path, "nano")
    with pytest.raises(RequestError):
        kept.load(path)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RequestError, match="is no JSON"):
        kept.load(str(tmp_path / "pipe"))


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "is no JSON"),
        (b"\xff\xfe", "is no JSON"),
        (b"[" * 100_000, "is no JSON"),
        (b"[]", "is no kept conversation"),
        (b'{"format": "other"}', "is no kept conversation"),
        (b'{"format": "ossia-conversation", "version": 2}', "has version 2; this ossia reads"),
        (b'{"format": "ossia-conversation", "version": 1}', "was changed"),
    ],
)
def test_another_file_is_refused(saved, content, found):
    saved.write_bytes(content)
    with pytest.raises(RequestError, match=found):
        kept.load(str(saved))


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
    kept.save(session, str(saved), "nano")
    saved.write_text(json.dumps(json.loads(saved.read_text()) | change))
    with pytest.raises(RequestError, match="was changed"):
        kept.load(str(saved))


def test_a_file_beyond_measure_is_refused(saved, monkeypatch):
    monkeypatch.setattr(kept, "MAX_BYTES", 10)
    saved.write_text(json.dumps("x" * 20))
    with pytest.raises(RequestError, match="is no JSON"):
        kept.load(str(saved))


any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@settings(max_examples=50, deadline=None)
@given(st.fixed_dictionaries({}, optional=dict.fromkeys(("effort", "instructions"), any_json)))
def test_whatever_stands_there_is_loaded_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_text(json.dumps({"format": kept.FORMAT, "version": 1, "turns": []} | content))
    try:
        loaded = kept.load(str(path))
    except RequestError:
        return
    assert loaded.turns == []
