from dataclasses import replace

import numpy as np

from ossia.tasks.nano.small_talk import DATE_WORDINGS, INTENTS, draw
from ossia.tasks.task import TaskSettings
from tests.tasks.nano.reading import answer, question, reasoning

MEDIUM = TaskSettings(effort="medium", date="2031-02-03")


def many(settings, count=600):
    random = np.random.default_rng(0)
    return [draw(random, settings) for _ in range(count)]


def test_each_intent_has_eight_wordings_and_two_more():
    assert all(len(intent.wordings) >= 10 for intent in INTENTS)
    assert len(DATE_WORDINGS) >= 10


def test_no_wording_belongs_to_two_intents():
    every = [wording for intent in INTENTS for wording in intent.wordings]
    every += DATE_WORDINGS
    assert len(every) == len(set(every))


def test_never_claims_to_be_from_openai():
    for conversation in many(MEDIUM):
        for sentence in answer(conversation).split(". "):
            assert "OpenAI" not in sentence or " not " in sentence


def test_the_date_is_the_one_of_the_system_message():
    dated = [
        answer(conversation) for conversation in many(MEDIUM) if "Today" in answer(conversation)
    ]
    assert set(dated) == {"Today is 2031-02-03."}
    assert not [one for one in many(replace(MEDIUM, date=None)) if "Today" in answer(one)]


def test_high_effort_goes_on_from_what_medium_thinks():
    for medium, high in zip(many(MEDIUM), many(replace(MEDIUM, effort="high")), strict=True):
        assert answer(medium) == answer(high)
        assert reasoning(high)[0].startswith(reasoning(medium)[0] + "\n")


def test_held_out_wordings_are_never_trained():
    trained = {question(conversation) for conversation in many(MEDIUM)}
    held_out = {question(conversation) for conversation in many(replace(MEDIUM, column="reworded"))}
    assert len(held_out) == 2 * (len(INTENTS) + 1)
    assert not trained & held_out
