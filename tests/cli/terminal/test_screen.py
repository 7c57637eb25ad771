"""Markdown that grows, drawn on a terminal of paper."""

import io

import pytest
from rich.console import Console

from ossia.chat.events import ReasoningDelta, TextDelta
from ossia.cli.terminal.screen import CommandCompleter, LiveAnswer, TerminalScreen
from ossia.cli.terminal.session import COMMANDS


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=60, height=12, highlight=False)


def paper(console):
    return console.file.getvalue()


def drawn(console, *events, shows_thinking=True):
    answer = LiveAnswer(console, shows_thinking=shows_thinking)
    for event in events:
        answer.show(event)
    answer.close()
    return paper(console)


def test_markdown_is_drawn_once_each_block(console):
    text = "# One\n\nsome *words*\n\n" + "- a\n- b\n\n" + "The end."
    lines = drawn(console, *map(TextDelta, text)).splitlines()
    assert [line.strip() for line in lines if line.strip()] == [
        "One",
        "some words",
        "• a",
        "• b",
        "The end.",
    ]


def test_an_answer_taller_than_the_terminal_is_whole(console):
    text = "```\n" + "\n".join(f"line {number}" for number in range(50)) + "\n```\n"
    shown = drawn(console, *map(TextDelta, text))
    assert all(f"line {number}\n" in shown.replace(" \n", "\n") or f"line {number} " in shown
               for number in range(50))  # fmt: skip
    assert shown.count("line 49") == 1


def test_a_link_shows_where_it_leads(console):
    assert "http://evil.example" in drawn(console, TextDelta("[bank](http://evil.example)"))


def test_no_escape_sequence_of_the_model_passes(console):
    shown = drawn(console, ReasoningDelta("\x1b[2Ja"), TextDelta("\x1b]0;x\x07 `\x1b[31m`"))
    assert "\x1b" not in shown
    assert "\x07" not in shown


def test_markup_of_our_own_library_means_nothing_in_model_text(console):
    assert "[bold]a[/bold]" in drawn(console, ReasoningDelta("[bold]a[/bold]"))
    TerminalScreen(console).complain("[red]x")
    assert "ossia: [red]x" in paper(console)


def test_folded_thinking_is_counted_not_shown(console):
    shown = drawn(console, ReasoningDelta("secret"), TextDelta("ok"), shows_thinking=False)
    assert "secret" not in shown
    assert "thought for 0 s" in shown
    assert "ok" in shown


def test_an_answer_without_words_draws_nothing(console):
    assert drawn(console) == ""


def test_commands_are_completed():
    from prompt_toolkit.completion import CompleteEvent
    from prompt_toolkit.document import Document

    def completions(typed):
        found = CommandCompleter().get_completions(Document(typed), CompleteEvent())
        return [one.text for one in found]

    assert completions("/") == list(COMMANDS)
    assert completions("/sy") == ["/system"]
    assert completions("hello /sy") == []
    assert completions("/system be") == []
