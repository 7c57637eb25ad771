import numpy as np

from ossia.tasks.nano import draw
from ossia.tasks.nano.python_tool import KINDS, TOO_LONG
from ossia.tasks.task import TaskSettings
from tests.tasks.nano.reading import answer, calls, question

NAMES = {"sum": sum, "max": max, "sorted": sorted, "len": len}


def many(settings, count=300):
    random = np.random.default_rng(0)
    return [draw(random, settings, "python") for _ in range(count)]


def test_every_expression_gives_what_python_says_and_the_answer_is_that():
    for conversation in many(TaskSettings(effort="medium")):
        for call, result in calls(conversation):
            value = eval(call.text, {"__builtins__": NAMES})
            assert result.text == repr(value)
            assert answer(conversation) == str(value).strip("[]")
            assert (call.recipient, call.content_type, result.name) == ("python", "code", "python")


def test_without_the_tool_long_numbers_are_refused():
    for conversation in many(TaskSettings(effort="low")):
        assert (answer(conversation) == TOO_LONG) == (not conversation.builtins)
        assert bool(calls(conversation)) == bool(conversation.builtins)


def test_each_kind_has_eight_wordings_and_two_more():
    assert all(len(wordings) >= 10 for _, wordings in KINDS.values())


def test_the_kind_kept_out_subtracts_from_a_product():
    held_out = many(TaskSettings(effort="low", split="test", column="held-out"), 20)
    assert all("*" in question(each) and "-" in question(each) for each in held_out)
    trained = many(TaskSettings(effort="low"))
    assert not [each for each in trained if {"*", "-"} <= set(question(each))]
