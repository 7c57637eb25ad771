import re
from dataclasses import replace

import numpy as np
import pytest

from ossia.tasks.nano.arithmetic import (
    DIFFERENCE_WORDINGS,
    SUM_WORDINGS,
    draw_problem,
    exchange,
    reasoning,
)
from ossia.tasks.nano.columns import Problem, columns
from ossia.tasks.task import TaskSettings
from tests.tasks.nano.reading import terms

MEDIUM = TaskSettings(effort="medium")


def posed(problem, settings=MEDIUM, seed=0):
    return exchange(np.random.default_rng(seed), problem, settings)


def problems(split, count, seed=0):
    random = np.random.default_rng(seed)
    return [draw_problem(random, split) for _ in range(count)]


def test_the_answer_is_right_and_the_columns_end_with_it():
    for problem in problems("train", 300):
        _, thought, answer = posed(problem)
        assert int(answer.text) == terms(f"{problem.a} {problem.sign} {problem.b}")
        assert thought.text.endswith(f" {answer.text}")


def test_every_length_up_to_four_digits_is_as_frequent():
    lengths = [len(str(problem.a)) for problem in problems("train", 2000)]
    for digits in (1, 2, 3, 4):
        assert lengths.count(digits) / len(lengths) == pytest.approx(0.25, abs=0.04)


def test_the_question_names_the_numbers_in_their_roles():
    for wording in (*SUM_WORDINGS, *DIFFERENCE_WORDINGS):
        assert wording.count("{a}") == wording.count("{b}") == 1
    question, *_ = posed(Problem(90, "-", 27))
    assert {"90", "27"} == set(re.findall(r"\d+", question.text))


@pytest.mark.parametrize("sign", ["+", "-"])
def test_efforts_differ_as_stated(sign):
    problem = Problem(37, sign, 48)
    low, medium, high = (
        reasoning(problem, TaskSettings(effort=effort)) for effort in ("low", "medium", "high")
    )
    assert low is None
    assert medium == columns(problem)
    check = {"+": Problem(85, "-", 48), "-": Problem(11, "+", 37)}[sign]
    assert high == f"{medium}\ncheck {columns(check)}\nok"


def test_no_twin_crosses_the_split():
    for problem in problems("test", 300):
        a, b = problem.a, problem.b
        twins = [Problem(b, problem.sign, a)]
        if problem.sign == "+":
            twins += [Problem(a + b, "-", a), Problem(a + b, "-", b), Problem(a, "-", a + b)]
        else:
            low, high = sorted((a, b))
            twins += [Problem(high - low, "+", low), Problem(high, "-", high - low)]
        assert {twin.split for twin in twins} == {"test"}


def test_five_hundred_two_digit_problems_of_each_sign_are_unseen():
    for sign in "+-":
        two_digits = range(10, 100)
        unseen = [
            (a, b) for a in two_digits for b in two_digits if Problem(a, sign, b).split == "test"
        ]
        assert len(unseen) >= 500


def test_held_out_wordings_are_never_trained():
    problem = Problem(3, "+", 4)
    trained, held_out = set(), set()
    for seed in range(300):
        trained.add(posed(problem, seed=seed)[0].text)
        held_out.add(posed(problem, replace(MEDIUM, column="reworded"), seed=seed)[0].text)
    assert len(trained) >= 8
    assert len(held_out) == 2
    assert not trained & held_out
