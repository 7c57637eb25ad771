import re

import pytest

from ossia.evals.nano_cells import COLUMNS, DRAWS, EFFORTS, Cell, cells, items
from ossia.tasks.nano.columns import Problem

TASKS = pytest.mark.parametrize("task", DRAWS)


def questions(conversation):
    users = [each.text for each in conversation.messages if each.role == "user"]
    return (conversation.instructions, *users)


@TASKS
def test_the_same_problems_are_posed_at_every_effort(task):
    posed = [
        [questions(each) for each in items(Cell(task=task, column="trained", effort=effort), 6)]
        for effort in EFFORTS
    ]
    assert posed[0] == posed[1] == posed[2]
    assert len(posed[0]) == 6


@TASKS
def test_no_problem_is_posed_twice_and_every_drawing_is_the_same(task):
    cell = Cell(task=task, column="reworded", effort="low")
    once = items(cell, 8)
    assert once == items(cell, 8)
    assert len({questions(each) for each in once}) == len(once)


def test_numbers_have_the_digits_of_their_line():
    for task, least, most in (("+ and -, 1 to 3 digits", 1, 3), ("+ and -, 4 digits", 4, 4)):
        for each in items(Cell(task=task, column="trained", effort="low"), 30):
            numbers = re.findall(r"\d+", questions(each)[-1])
            assert all(least <= len(number) <= most for number in numbers)
            assert {Problem(int(numbers[0]), s, int(numbers[1])).split for s in "+-"} & {"test"}


def test_every_cell_stands_once_and_only_kinds_kept_out_have_a_column():
    every = list(cells(tuple(DRAWS), COLUMNS, EFFORTS))
    assert len(every) == len(set(every))
    without = {each.task for each in every} - {
        each.task for each in every if each.column == "held-out"
    }
    assert without == {
        "+ and -, 1 to 3 digits", "+ and -, 4 digits", "products, 2 by 2 digits", "products",
        "small talk",
    }  # fmt: skip
