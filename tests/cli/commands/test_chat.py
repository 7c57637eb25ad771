"""A conversation line by line from a pipe, on a tiny random model."""

import json

import pytest

from ossia.cli.terminal.session import load_chat

FEW = ("--max-tokens", 30, "--seed", 3)


@pytest.fixture
def chat_loop(ossia, folder):
    def run(*lines, options=()):
        return ossia("chat", "-m", folder, *FEW, *options, stdin="\n".join(lines))

    return run


def test_each_line_is_a_message(chat_loop, saved):
    ran = chat_loop("one", '"""two', 'lines"""', f"/save {saved}", "/bye", "never asked")
    assert ran.code == 0
    turns = load_chat(str(saved)).turns
    assert [turn.question for turn in turns] == ["one", "two\nlines"]
    assert ran.out == "".join(f"{turn.answer.rstrip(chr(10))}\n" for turn in turns)
    assert ran.err.count("thinking:\n") == 2


def test_a_kept_conversation_goes_on(chat_loop, saved):
    chat_loop("one", f"/save {saved}")
    ran = chat_loop(f"/load {saved}", "two", f"/save {saved}")
    assert "1 questions and answers loaded" in ran.err
    assert [turn.question for turn in load_chat(str(saved)).turns] == ["one", "two"]
    assert json.loads(saved.read_text())["turns"][0]["is_whole"]


def test_retry_draws_another_answer_even_with_a_seed(chat_loop, saved, tmp_path):
    chat_loop("one", f"/save {saved}", "/retry", f"/save {tmp_path / 'again'}")
    first, again = (load_chat(str(path)).turns for path in (saved, tmp_path / "again"))
    assert len(first) == len(again) == 1
    assert first[0].answer + first[0].reasoning != again[0].answer + again[0].reasoning


def test_stats_count_the_context_as_the_model_does(chat_loop):
    ran = chat_loop("/stats", "one", "/stats", options=("--context-length", "2k"))
    contexts = [line for line in ran.err.splitlines() if line.startswith("context")]
    assert contexts[0] == "context  0 of 2,048 tokens (0%)"
    assert int(contexts[1].split()[1]) > 100
    assert "answers  1; 30 tokens written" in ran.err


def test_folded_thinking_is_not_shown_until_asked_for(chat_loop):
    ran = chat_loop("/think hide", "one", "/think")
    assert "thinking:" not in ran.err
    assert len(ran.err.splitlines()) >= 3


def test_a_refused_question_is_one_line_and_the_talk_goes_on(chat_loop, saved):
    ran = chat_loop("x" * 400, "hi", f"/save {saved}", options=("--context-length", "256"))
    assert ran.code == 1
    assert "but the context window holds 256" in ran.err
    assert [turn.question for turn in load_chat(str(saved)).turns] == ["hi"]
    assert "Traceback" not in ran.err


@pytest.mark.parametrize("command", ["/load nowhere", "/save nowhere/x"])
def test_a_file_that_cannot_be_is_one_line(chat_loop, command, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    ran = chat_loop(command)
    assert ran.code == 1
    assert ran.err == "ossia: nowhere" + ran.err.removeprefix("ossia: nowhere")
    assert ran.err.count("\n") == 1


def test_quiet_shows_answers_and_complaints_only(chat_loop):
    ran = chat_loop("one", "/stats", "/load nowhere", options=("-q",))
    assert ran.err.startswith("ossia: nowhere cannot be read")
    assert ran.err.count("\n") == 1
    assert ran.out


def test_a_model_without_words_is_refused_before_anything_is_typed(ossia, mute_folder):
    ran = ossia("chat", "-m", mute_folder, stdin="hi")
    assert (ran.code, ran.out) == (1, "")
    assert "has no tokenizer.json" in ran.err


def test_lines_that_are_no_text_are_refused(ossia, folder):
    ran = ossia("chat", "-m", folder, *FEW, stdin=b"hi\n\xff\n")
    assert ran.code == 1
    assert "Traceback" not in ran.err
    assert "UTF-8" in ran.err
