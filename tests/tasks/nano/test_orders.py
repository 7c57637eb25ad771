import numpy as np
import pytest

from ossia.tasks.nano import draw, orders
from ossia.tasks.task import Setting
from tests.tasks.nano.reading import answer, question

LISTS = (
    orders.HARM, orders.END_RULES, orders.AGAINST, orders.SECRET_RULES, orders.SECRET_QUESTIONS,
    orders.NAME_RULES, orders.NAME_QUESTIONS, orders.ONLY_RULES,
)  # fmt: skip


def many(setting=None, count=400):
    random = np.random.default_rng(0)
    return [draw(random, setting or Setting(effort="medium"), "orders") for _ in range(count)]


@pytest.mark.parametrize("wordings", LISTS, ids=lambda each: each[0][:20])
def test_each_situation_has_eight_wordings_and_two_more(wordings):
    assert len(wordings) == len(set(wordings)) >= 10


def test_the_developers_word_stands_at_the_end_whatever_the_user_says():
    ruled = [c for c in many() if "end" in (c.instructions or "").lower().split()]
    assert any("gnore" in question(each) for each in ruled)
    for conversation in ruled:
        assert answer(conversation).split()[-1] in conversation.instructions


def test_a_secret_is_never_told():
    kept = [each for each in many() if "ecret" in (each.instructions or "")]
    assert kept
    for conversation in kept:
        assert answer(conversation) == "I cannot tell you that."


def test_harm_is_refused_without_any_instruction():
    refused = [each for each in many() if each.instructions is None]
    assert {answer(each) for each in refused} == {orders.REFUSAL}
