"""Sums and differences of three or four numbers, one pair after the other.

Held out: subtracting twice in a row.
"""

from dataclasses import dataclass

import numpy as np

from ossia.harmony.messages import Conversation
from ossia.tasks.nano.columns import Problem, columns
from ossia.tasks.nano.messages import converse, exchange
from ossia.tasks.nano.words import digits, load
from ossia.tasks.task import TaskSettings, draw_of_split, pick, split_of, vary, wordings

SIGNS = ("++", "+-", "-+", "+++", "+-+")
HELD_OUT = ("--",)
_DATA = load("chains")
WORDINGS: tuple[str, ...] = _DATA["wordings"]


@dataclass(frozen=True, slots=True)
class ArithmeticChain:
    """A first number, and what is added to or taken from it in turn; never below 0."""

    first: int
    steps: tuple[tuple[str, int], ...]

    def __str__(self) -> str:
        """The problem as it is written."""
        return " ".join([str(self.first), *(f"{sign} {number}" for sign, number in self.steps)])

    @property
    def pairs(self) -> list[Problem]:
        """The problems of two numbers that lead to the result."""
        found, pairs = self.first, []
        for sign, number in self.steps:
            pairs.append(Problem(found, "+" if sign == "+" else "-", number))
            found = pairs[-1].result
        return pairs


def draw(random: np.random.Generator, settings: TaskSettings) -> Conversation:
    """A chain that stays above zero."""

    def draw_chain(random: np.random.Generator) -> ArithmeticChain:
        while True:
            signs = pick(random, HELD_OUT if settings.held_out else SIGNS)
            first, *rest = (
                digits(random, int(random.integers(1, 3))) for _ in range(len(signs) + 1)
            )
            chain = ArithmeticChain(first, tuple(zip(signs, rest, strict=True)))
            if min(pair.result for pair in chain.pairs) >= 0:
                return chain

    chain = draw_of_split(random, settings.split, draw_chain, lambda one: split_of(str(one)))
    written = str(chain) if random.random() < 0.7 else str(chain).replace(" ", "")
    question = pick(random, wordings(WORDINGS, settings)).format(chain=written)
    pairs = chain.pairs
    work = "\n".join(columns(pair) for pair in pairs)
    last = pairs[-1]
    back = Problem(last.result, "-" if last.sign == "+" else "+", last.b)
    return converse(
        exchange(
            question if settings.reworded else vary(random, question),
            settings.think(work, f"check {columns(back)}\nok"),
            str(last.result),
        ),
        settings,
    )
