import re

import numpy as np

from ossia.tasks.nano import draw
from ossia.tasks.nano.comparisons import WORDS
from ossia.tasks.task import TaskSettings
from tests.tasks.nano.reading import answer, question


def many(settings, count=400):
    random = np.random.default_rng(0)
    return [draw(random, settings, "comparisons") for _ in range(count)]


def test_the_answer_is_the_number_asked_for():
    for conversation in many(TaskSettings(effort="low")):
        text = question(conversation).lower()
        a, b = map(int, re.findall(r"\d+", text))
        wants_large = any(word in text for word in WORDS["larger"])
        expected = "They are equal." if a == b else str(max(a, b) if wants_large else min(a, b))
        assert answer(conversation) == expected


def test_four_digits_are_kept_out_of_training():
    lengths = [
        max(map(len, re.findall(r"\d+", question(c)))) for c in many(TaskSettings(effort="low"))
    ]
    assert max(lengths) == 3
    held_out = many(TaskSettings(effort="low", split="test", column="held-out"), 20)
    assert all(len(each) == 4 for c in held_out for each in re.findall(r"\d+", question(c)))
