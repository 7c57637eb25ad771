from dataclasses import replace

import numpy as np
import pytest

from ossia.harmony.output_grammar import OutputGrammar, OutputRules
from ossia.harmony.render import render_example
from ossia.tasks.nano import HELD_OUT_KINDS, TASKS, draw
from ossia.tasks.nano.dialogues import turns
from ossia.tasks.task import TaskSettings
from tests.tasks.nano.reading import answer, question, reasoning

MEDIUM = TaskSettings(effort="medium", date="2026-11-21")
WORDED_ONLY = ("small talk", "instruction hierarchy")
"""Tasks that may pose no problem: only the wordings differ."""
EVERY = pytest.mark.parametrize("task", TASKS)


def drawn(task, settings, count=40, seed=0):
    random = np.random.default_rng(seed)
    return [draw(random, settings, task) for _ in range(count)]


def test_the_shares_are_those_of_the_plan():
    shares = {name: task.share for name, task in TASKS.items()}
    assert sum(shares.values()) == pytest.approx(1)
    assert sum(task.late_share for task in TASKS.values()) == pytest.approx(1)
    calculating = ("arithmetic", "products", "comparisons", "chains")
    assert sum(shares[task] for task in calculating) == pytest.approx(0.32)


@EVERY
def test_a_seed_always_draws_the_same(task):
    assert drawn(task, MEDIUM, 5) == drawn(task, MEDIUM, 5)
    assert drawn(task, MEDIUM, 5) != drawn(task, MEDIUM, 5, seed=1)


@EVERY
def test_every_turn_ends_with_an_answer(task):
    for conversation in drawn(task, MEDIUM):
        assert conversation.messages[0].role == "user"
        assert conversation.messages[-1].channel == "final"
        assert conversation.effort == "medium"
        assert conversation.date == MEDIUM.date


@EVERY
def test_effort_alone_decides_how_long_the_same_question_is_thought_about(task):
    lengths = []
    for effort in ("low", "medium", "high"):
        found = drawn(task, replace(MEDIUM, effort=effort))
        lengths.append([sum(map(len, reasoning(each))) for each in found])
        assert [question(each) for each in found] == [question(e) for e in drawn(task, MEDIUM)]
    for low, medium, high in zip(*lengths, strict=True):
        assert low == 0 < medium < high


@EVERY
def test_the_grammar_allows_every_token_of_every_turn(task, tokenizer):
    for conversation in drawn(task, replace(MEDIUM, effort="high"), 15):
        for turn in turns(conversation):
            example = render_example(tokenizer, turn)
            recipients = {f"functions.{each.name}": "json" for each in turn.functions}
            recipients |= {"python": "text", "browser.search": "json", "browser.open": "json"}
            kind = "json" if turn.response_formats else "text"
            rules = OutputRules(recipients=recipients, final_kind=kind)
            grammar = OutputGrammar(tokenizer, rules, vocab_size=tokenizer.size)
            state = grammar.start
            for each in answered_ids(tokenizer, example, turn):
                if grammar.is_done(state):  # a call ends what the model writes at once
                    state = grammar.start
                state, _ = grammar.step(state, each)
            assert grammar.is_done(state)


def answered_ids(tokenizer, example, turn):
    """Ids of the last turn, as the model writes them: what follows START assistant."""
    last_user = max(at for at, each in enumerate(turn.messages) if each.role == "user")
    new = [each for each in turn.messages[last_user + 1 :] if each.role == "assistant"]
    opener = [tokenizer.ids.start, *tokenizer.encode("assistant")]
    ended_by_call = True
    for begin, end in example.spans[-len(new) :]:
        yield from [] if ended_by_call else opener
        yield from example.ids[begin:end]
        ended_by_call = example.ids[end - 1] == tokenizer.ids.call


def problem(conversation):
    """What is to be found out: all that is told and asked, and of a story what is told in it."""
    questions = [each.text for each in conversation.messages if each.role == "user"]
    if answer(conversation).startswith("In a "):
        return answer(conversation)
    names = [each.name for each in conversation.functions]
    return (conversation.instructions, *names, *questions)


@pytest.mark.parametrize(
    ("task", "column"),
    [*((task, "reworded") for task in TASKS), *((task, "held-out") for task in HELD_OUT_KINDS)],
)
def test_other_columns_ask_what_training_never_asks(task, column):
    other = replace(MEDIUM, split="test", column=column)
    trained = {problem(each) for each in drawn(task, MEDIUM, 400)}
    assert not trained & {problem(each) for each in drawn(task, other)}


@pytest.mark.parametrize("task", [each for each in TASKS if each not in WORDED_ONLY])
def test_problems_of_the_test_are_not_among_those_of_training(task):
    trained = {problem(each) for each in drawn(task, MEDIUM, 600)}
    assert not trained & {problem(each) for each in drawn(task, replace(MEDIUM, split="test"), 60)}
