import re

import numpy as np

from ossia.tasks.nano import draw
from ossia.tasks.nano.products import WORDINGS
from ossia.tasks.task import TaskSettings
from tests.tasks.nano.reading import answer, question, reasoning


def many(effort, count=200):
    random = np.random.default_rng(0)
    return [draw(random, TaskSettings(effort=effort), "products") for _ in range(count)]


def test_the_answer_is_the_product_and_the_parts_end_with_it():
    for conversation in many("medium"):
        a, b = map(int, re.findall(r"\d+", question(conversation)))
        assert int(answer(conversation)) == a * b
        assert reasoning(conversation)[0].split()[-1] == answer(conversation)


def test_high_effort_checks_the_last_digit():
    for conversation in many("high"):
        check = reasoning(conversation)[0].split("\n")[-1]
        product, last = re.search(r"= (\d+), (\d) ok$", check).groups()
        assert product[-1] == last == answer(conversation)[-1]


def test_there_are_eight_wordings_and_two_more_that_name_both_numbers():
    assert len(WORDINGS) >= 10
    assert all(each.count("{a}") == each.count("{b}") == 1 for each in WORDINGS)
