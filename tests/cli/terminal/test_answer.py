"""The answer on stdout, thinking on stderr, in the order of events."""

import io
import os

import pytest

from ossia.chat.events import Finished, PreambleDelta, ReasoningDelta, TextDelta, Timing, Usage
from ossia.cli.terminal.answer import WAITING, AttachmentFolder, PlainAnswer
from ossia.errors import RequestError
from ossia.tools.tool import Attachment

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


def file(name, content=b"abc"):
    return Attachment(name=name, media_type="text/plain", content=content)


def test_without_a_folder_a_file_is_only_told_of(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert AttachmentFolder().describe(file("a.txt")) == "a.txt, 3 bytes"
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_kept_and_its_path_told(tmp_path):
    files = AttachmentFolder(tmp_path / "deep" / "out")
    assert files.describe(file("a.txt")) == f"{tmp_path / 'deep' / 'out' / 'a.txt'}, 3 bytes"
    assert (tmp_path / "deep" / "out" / "a.txt").read_bytes() == b"abc"


def test_nothing_is_written_over(tmp_path):
    (tmp_path / "a.txt").write_text("mine")
    (tmp_path / "a-2.txt").symlink_to(tmp_path / "elsewhere")
    assert AttachmentFolder(tmp_path).save(file("a.txt")) == tmp_path / "a-3.txt"
    assert (tmp_path / "a.txt").read_text() == "mine"
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    ("name", "saved_as"),
    [
        ("../../etc/x", "x"),
        ("/", "file"),
        ("..", "file"),
        (".bashrc", "bashrc"),
        ("a\x1b[2J\n.png", "a__2J_.png"),
        ("x" * 300 + ".png", "x" * 96 + ".png"),
        ("ü.png", "ü.png"),
    ],
)
def test_a_name_leads_nowhere_and_hides_nothing(tmp_path, name, saved_as):
    folder = tmp_path / "out"
    assert AttachmentFolder(folder).save(file(name)) == folder / saved_as
    assert [each.name for each in folder.iterdir()] == [saved_as]
    assert [each.name for each in tmp_path.iterdir()] == ["out"]


def test_a_folder_that_cannot_be_made_is_refused_at_once(tmp_path):
    (tmp_path / "a").write_text("")
    with pytest.raises(RequestError, match="--files .*a/b: Not a directory"):
        AttachmentFolder(tmp_path / "a" / "b")


def test_a_file_that_cannot_be_kept_is_told_with_the_reason(tmp_path):
    files = AttachmentFolder(tmp_path / "out")
    os.rmdir(tmp_path / "out")
    assert files.describe(file("a.txt")) == "a.txt, 3 bytes, not saved: No such file or directory"
