"""Products of numbers of one to three digits by their parts.

High effort also checks the last digit.
"""

import numpy as np

from ossia.harmony.messages import Conversation
from ossia.tasks.nano.columns import Problem, parts
from ossia.tasks.nano.messages import converse, exchange
from ossia.tasks.nano.words import digits, load
from ossia.tasks.task import Split, TaskSettings, draw_of_split, pick, vary, wordings

LENGTHS = ((1, 1), (2, 1), (1, 2), (2, 2), (2, 2), (3, 1), (1, 3))
_DATA = load("products")
WORDINGS: tuple[str, ...] = _DATA["wordings"]


def draw_problem(
    random: np.random.Generator, split: Split, lengths: tuple[tuple[int, int], ...] = LENGTHS
) -> Problem:
    """A product of one side of the split."""

    def draw_one(random: np.random.Generator) -> Problem:
        first, second = pick(random, lengths)
        return Problem(digits(random, first), "*", digits(random, second))

    return draw_of_split(random, split, draw_one, lambda problem: problem.split)


def draw(
    random: np.random.Generator,
    settings: TaskSettings,
    lengths: tuple[tuple[int, int], ...] = LENGTHS,
) -> Conversation:
    """A question in one of its wordings."""
    problem = draw_problem(random, settings.split, lengths)
    question = pick(random, wordings(WORDINGS, settings)).format(a=problem.a, b=problem.b)
    text = question if settings.reworded else vary(random, question)
    return converse(exchange(text, reasoning(problem, settings), str(problem.result)), settings)


def reasoning(problem: Problem, settings: TaskSettings) -> str | None:
    """Nothing, the parts, or the parts and the last digit."""
    last, other = problem.a % 10, problem.b % 10
    check = f"check the last digit: {last} * {other} = {last * other}, {last * other % 10} ok"
    return settings.think(parts(problem), check)
