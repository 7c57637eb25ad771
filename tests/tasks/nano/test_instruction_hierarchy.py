import numpy as np
import pytest

from ossia.tasks.nano import draw, instruction_hierarchy
from ossia.tasks.task import TaskSettings
from tests.tasks.nano.reading import answer, question

LISTS = (
    instruction_hierarchy.HARM,
    instruction_hierarchy.END_RULES,
    instruction_hierarchy.AGAINST,
    instruction_hierarchy.SECRET_RULES,
    instruction_hierarchy.SECRET_QUESTIONS,
    instruction_hierarchy.NAME_RULES,
    instruction_hierarchy.NAME_QUESTIONS,
    instruction_hierarchy.ONLY_RULES,
)


def many(settings=None, count=400):
    random = np.random.default_rng(0)
    return [
        draw(random, settings or TaskSettings(effort="medium"), "instruction hierarchy")
        for _ in range(count)
    ]


@pytest.mark.parametrize("wordings", LISTS, ids=lambda each: each[0][:20])
def test_each_situation_has_eight_wordings_and_two_more(wordings):
    assert len(wordings) == len(set(wordings)) >= 10


def test_the_developers_word_stands_at_the_end_whatever_the_user_says():
    ruled = [c for c in many() if "end" in (c.instructions or "").lower().split()]
    assert any("gnore" in question(each) for each in ruled)
    for conversation in ruled:
        assert answer(conversation).split()[-1] in conversation.instructions


def test_a_secret_is_never_told():
    secret = [each for each in many() if "ecret" in (each.instructions or "")]
    assert secret
    for conversation in secret:
        assert answer(conversation) == "I cannot tell you that."


def test_harm_is_refused_without_any_instruction():
    refused = [each for each in many() if each.instructions is None]
    assert {answer(each) for each in refused} == {instruction_hierarchy.REFUSAL}
