import re

import numpy as np
import pytest

from ossia.tasks.nano.word_problems import KINDS, WordProblem, draw, equations
from ossia.tasks.task import TaskSettings
from tests.tasks.nano.reading import answer, question, reasoning

MEDIUM = TaskSettings(effort="medium")


def test_there_are_a_hundred_and_twenty_stories_in_all_kinds_of_calculation():
    assert sum(len(kind.wordings) for kind in KINDS) >= 120
    assert all(len(kind.wordings) >= 10 for kind in KINDS if not kind.held_out)
    assert sum(kind.held_out for kind in KINDS) == 1


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_story_names_every_number_once(kind):
    for wording in kind.wordings:
        for number in kind.sizes:
            assert wording.count(f"{{{number}}}") in (1, 2), wording


def test_the_steps_lead_to_the_answer():
    change = next(kind for kind in KINDS if kind.name == "change")
    pairs = equations(WordProblem(change, {"a": 3, "b": 4, "c": 50}))
    assert [str(pair) for pair in pairs] == ["3 * 4", "50 - 12"]


def test_the_reasoning_ends_with_the_number_of_the_answer():
    random = np.random.default_rng(0)
    for conversation in (draw(random, MEDIUM) for _ in range(200)):
        number = answer(conversation).split()[0]
        assert re.split(r"[ \n]", reasoning(conversation)[0])[-1] == number
        assert "{" not in question(conversation) + answer(conversation)
