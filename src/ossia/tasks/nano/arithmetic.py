"""Sums and differences of numbers of one to four digits, worked out in columns from the right.

Low effort answers at once; medium writes the columns; high also checks by the inverse operation.
"""

import numpy as np

from ossia.harmony.messages import Conversation, Message
from ossia.tasks.nano.columns import Problem, columns
from ossia.tasks.nano.messages import converse
from ossia.tasks.nano.messages import exchange as say
from ossia.tasks.nano.words import digits, load
from ossia.tasks.task import Split, TaskSettings, draw_of_split, pick, vary, wordings

MAX_DIGITS = 4
SAME_LENGTH_SHARE = 0.5
"""Problems of two numbers of one length; the others' lengths are drawn one by one."""

_DATA = load("arithmetic")
SUM_WORDINGS: tuple[str, ...] = _DATA["sum_wordings"]
DIFFERENCE_WORDINGS: tuple[str, ...] = _DATA["difference_wordings"]


def draw_problem(
    random: np.random.Generator, split: Split, max_digits: int = MAX_DIGITS
) -> Problem:
    """A problem of one side of the split, every length equally likely."""

    def draw_one(random: np.random.Generator) -> Problem:
        lengths = random.integers(1, max_digits + 1, 2)
        if random.random() < SAME_LENGTH_SHARE:
            lengths[1] = lengths[0]
        a, b = (digits(random, int(length)) for length in lengths)
        return Problem(a, "+" if random.random() < 0.5 else "-", b)

    return draw_of_split(random, split, draw_one, lambda problem: problem.split)


def draw(random: np.random.Generator, settings: TaskSettings) -> Conversation:
    """A question in one of its wordings, with the reasoning that the effort asks for."""
    problem = draw_problem(random, settings.split)
    return converse(exchange(random, problem, settings), settings)


def draw_of_length(
    random: np.random.Generator, settings: TaskSettings, *, least: int, most: int
) -> Conversation:
    """A question about two numbers of `least` to `most` digits each."""
    while True:
        problem = draw_problem(random, settings.split, most)
        if min(len(str(problem.a)), len(str(problem.b))) >= least:
            return converse(exchange(random, problem, settings), settings)


def exchange(
    random: np.random.Generator, problem: Problem, settings: TaskSettings
) -> tuple[Message, ...]:
    """The messages of one problem."""
    every = SUM_WORDINGS if problem.sign == "+" else DIFFERENCE_WORDINGS
    wording = pick(random, wordings(every, settings))
    question = wording.format(a=problem.a, b=problem.b)
    return say(
        question if settings.reworded else vary(random, question),
        reasoning(problem, settings),
        str(problem.result),
    )


def reasoning(problem: Problem, settings: TaskSettings) -> str | None:
    """Nothing, the columns, or the columns and the inverse operation."""
    small, large = sorted((problem.a, problem.b))
    inverse = (
        Problem(problem.result, "-", problem.b)
        if problem.sign == "+"
        else Problem(large - small, "+", small)
    )
    return settings.think(columns(problem), f"check {columns(inverse)}\nok")
