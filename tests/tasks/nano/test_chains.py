import re

import numpy as np

from ossia.tasks.nano import draw
from ossia.tasks.task import TaskSettings
from tests.tasks.nano.reading import answer, question, reasoning, terms


def many(settings, count=300):
    random = np.random.default_rng(0)
    return [draw(random, settings, "chains") for _ in range(count)]


def chain(conversation):
    return re.search(r"\d+( ?[-+] ?\d+)+", question(conversation))[0]


def test_the_answer_is_the_value_of_the_chain():
    for conversation in many(TaskSettings(effort="medium")):
        assert int(answer(conversation)) == terms(chain(conversation)) >= 0
        assert reasoning(conversation)[0].split()[-1] == answer(conversation)


def test_subtracting_twice_is_kept_out_of_training():
    signs = [re.sub(r"[^-+]", "", chain(each)) for each in many(TaskSettings(effort="low"))]
    assert "--" not in signs
    held_out = many(TaskSettings(effort="low", split="test", column="held-out"), 20)
    assert {re.sub(r"[^-+]", "", chain(each)) for each in held_out} == {"--"}
