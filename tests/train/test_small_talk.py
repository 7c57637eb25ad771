from dataclasses import replace

import numpy as np

from ossia.train.tasks.small_talk import DATE_WORDINGS, INTENTS, draw
from ossia.train.tasks.task import Setting

MEDIUM = Setting(effort="medium", date="2031-02-03")


def many(setting, count=600):
    random = np.random.default_rng(0)
    return [draw(random, setting) for _ in range(count)]


def test_each_intent_has_eight_wordings_and_two_more():
    assert all(len(intent.wordings) >= 10 for intent in INTENTS)
    assert len(DATE_WORDINGS) >= 10


def test_no_wording_belongs_to_two_intents():
    every = [wording for intent in INTENTS for wording in intent.wordings]
    every += DATE_WORDINGS
    assert len(every) == len(set(every))


def test_never_claims_to_be_from_openai():
    for said in many(MEDIUM):
        for sentence in said.answer.split(". "):
            assert "OpenAI" not in sentence or " not " in sentence


def test_the_date_is_the_one_of_the_system_message():
    dated = [said.answer for said in many(MEDIUM) if "Today" in said.answer]
    assert set(dated) == {"Today is 2031-02-03."}
    assert not [one for one in many(replace(MEDIUM, date=None)) if "Today" in one.answer]


def test_more_effort_says_more_and_low_effort_nothing():
    said = {effort: many(replace(MEDIUM, effort=effort)) for effort in ("low", "medium", "high")}
    for low, medium, high in zip(*said.values(), strict=True):
        assert low.question == medium.question == high.question
        assert low.answer == medium.answer == high.answer
        assert low.reasoning is None
        assert high.reasoning.startswith(medium.reasoning + " ")


def test_held_out_wordings_are_never_trained():
    trained = {said.question for said in many(MEDIUM)}
    held_out = {said.question for said in many(replace(MEDIUM, reworded=True))}
    assert len(held_out) == 2 * (len(INTENTS) + 1)
    assert not trained & held_out
