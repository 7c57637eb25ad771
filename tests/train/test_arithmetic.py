import re
from dataclasses import replace

import numpy as np
import pytest

from ossia.train.tasks.arithmetic import (
    DIFFERENCE_WORDINGS,
    SUM_WORDINGS,
    Problem,
    columns,
    draw_problem,
    exchange,
    reasoning,
)
from ossia.train.tasks.task import Setting

LINE = re.compile(r"(ones|tens|hundreds) ([\d +-]+) = (\d+)(?: (carry|borrow) 1)? write (\d+)")


def problems(split, count, seed=0):
    random = np.random.default_rng(seed)
    return [draw_problem(random, split) for _ in range(count)]


def terms(text):
    """The value of a chain of sums and differences, read by this test alone."""
    return sum(int(term.replace(" ", "")) for term in re.findall(r"[+-]? ?\d+", text))


def test_every_line_of_the_columns_is_true():
    for problem in problems("train", 500):
        first, *lines = columns(problem).split("\n")
        found = ""
        for line in lines:
            if line.startswith("so "):
                assert int(line.removeprefix("so ")) == problem.result
                continue
            _, sides, value, moved, shown = LINE.fullmatch(line).groups()
            assert terms(sides) == int(value)
            assert shown == str(int(value) - (10 if moved == "carry" else 0)) + found
            assert (" - " in sides) == (problem.sign == "-")
            found = shown
        assert first.startswith(f"{problem.a} {problem.sign} {problem.b}")
        assert abs(problem.result) == int(found)


def test_the_answer_is_right_and_the_columns_end_with_it():
    for problem in problems("train", 300):
        said = exchange(np.random.default_rng(0), problem, Setting(effort="medium"))
        assert int(said.answer) == terms(f"{problem.a} {problem.sign} {problem.b}")
        assert said.reasoning.endswith(f" {said.answer}")


def test_the_question_names_the_numbers_in_their_roles():
    random = np.random.default_rng(0)
    for wording in (*SUM_WORDINGS, *DIFFERENCE_WORDINGS):
        assert wording.count("{a}") == wording.count("{b}") == 1
    asked = exchange(random, Problem(90, "-", 27), Setting(effort="low")).question
    assert {"90", "27"} == set(re.findall(r"\d+", asked))


@pytest.mark.parametrize("sign", ["+", "-"])
def test_efforts_differ_as_stated(sign):
    problem = Problem(37, sign, 48)
    low, medium, high = (
        reasoning(problem, Setting(effort=effort)) for effort in ("low", "medium", "high")
    )
    assert low is None
    assert medium == columns(problem)
    check = {"+": Problem(85, "-", 48), "-": Problem(11, "+", 37)}[sign]
    assert high == f"{medium}\ncheck {columns(check)}\nok"


def test_the_columns_of_a_sum_are_those_of_a_school_book():
    assert columns(Problem(37, "+", 48)) == (
        "37 + 48\nones 7 + 8 = 15 carry 1 write 5\ntens 3 + 4 + 1 = 8 write 85"
    )
    assert columns(Problem(27, "-", 90)) == (
        "27 - 90 = -(90 - 27)\nones 10 - 7 = 3 borrow 1 write 3\n"
        "tens 9 - 2 - 1 = 6 write 63\nso -63"
    )


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


def test_the_sides_of_the_split_are_disjoint():
    sides = [set(problems(split, 400)) for split in ("train", "validation", "test")]
    assert sum(map(len, sides)) == len(set.union(*sides))


def test_held_out_wordings_are_never_trained():
    trained, held_out = set(), set()
    problem = Problem(3, "+", 4)
    for seed in range(300):
        random = np.random.default_rng(seed)
        setting = Setting(effort="low")
        trained.add(exchange(random, problem, setting).question)
        held_out.add(exchange(random, problem, replace(setting, reworded=True)).question)
    assert len(trained) >= 8
    assert len(held_out) == 2
    assert not trained & held_out
