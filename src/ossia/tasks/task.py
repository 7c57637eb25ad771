"""What a task is: a function that draws a conversation of a given effort and evaluation column.

Knows nothing of tokens; the choices every task makes alike stand here.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeVar

import numpy as np

from ossia.harmony.messages import Conversation, Effort

Split = Literal["train", "validation", "test"]
Column = Literal["trained", "reworded", "held-out"]
"""Column of the evaluation: trained, with held-out wordings, or of a held-out kind."""
Chosen = TypeVar("Chosen")


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSettings:
    """Effort and date of the system message, and the conversations that may be drawn."""

    effort: Effort
    date: str | None = None
    split: Split = "train"
    column: Column = "trained"

    @property
    def reworded(self) -> bool:
        """Whether to use the held-out wordings."""
        return self.column == "reworded"

    @property
    def held_out(self) -> bool:
        """Whether to draw of the held-out kind only."""
        return self.column == "held-out"

    def think(self, medium: str, more: str) -> str | None:
        """The reasoning of this effort: none, `medium`, or `medium` and `more`."""
        match self.effort:
            case "low":
                return None
            case "medium":
                return medium
            case "high":
                return f"{medium}\n{more}"


Random: TypeAlias = np.random.Generator
Draw: TypeAlias = Callable[[Random, TaskSettings], Conversation]
"""A task: all its randomness comes from the generator."""

TEST, VALIDATION = 2, 1
"""Of 100 problems."""
MAX_DRAWS = 1000
"""Of 100 problems 1 suffices: to miss it so often has a chance below 0.00005."""

LOWER_SHARE, BARE_SHARE, OPENED_SHARE, CLOSED_SHARE = 0.2, 0.15, 0.25, 0.15
"""Of questions in small letters, without their last sign, and with words around them."""
OPENERS = (
    "Hi, ", "Hello! ", "Hey, ", "Please: ", "Quick question: ", "Now ", "Ok, ", "And ", "So ",
    "Tell me: ", "My question is: ", "I have a problem: ", "Next one: ", "One more: ",
    "Do you know this? ", "Then ",
)  # fmt: skip
CLOSERS = (
    " Thanks!", " Please.", " please", " Show your work.", " Answer with a number.", " Thank you.",
    " Be quick.", " It is for my homework.", " I need the result.", " Go!",
)  # fmt: skip


def seeded(*numbers: int) -> np.random.Generator:
    """A generator seeded with numbers."""
    return np.random.default_rng(numbers)


def bucket(problem: str) -> int:
    """A number from 0 to 99 that depends on nothing but the problem: it decides the split."""
    return int.from_bytes(hashlib.sha256(problem.encode()).digest()[:8], "little") % 100


def split_of(problem: str, test: int = TEST) -> Split:
    """The side a problem stands on, whatever its wording or effort; `test` of 100 are tests."""
    place = bucket(problem)
    if place < test:
        return "test"
    return "validation" if place < test + VALIDATION else "train"


class Undrawable(Exception):
    """Too few problems of a kind belong to a split."""


def draw_of_split(
    random: np.random.Generator,
    split: Split,
    draw: Callable[[np.random.Generator], Chosen],
    side: Callable[[Chosen], Split],
) -> Chosen:
    """Draw until a problem belongs to `split`.

    Raises:
        Undrawable: there are too few problems, and all stand elsewhere.
    """
    for _ in range(MAX_DRAWS):
        problem = draw(random)
        if side(problem) == split:
            return problem
    raise Undrawable


def pick(random: np.random.Generator, choices: Sequence[Chosen]) -> Chosen:
    """One of the choices, each as likely."""
    return choices[int(random.integers(len(choices)))]


def pick_some(
    random: np.random.Generator, choices: Sequence[Chosen], count: int
) -> tuple[Chosen, ...]:
    """`count` different choices, in random order."""
    return tuple(choices[int(at)] for at in random.permutation(len(choices))[:count])


def wordings(choices: tuple[str, ...], settings: TaskSettings) -> tuple[str, ...]:
    """The wordings the settings allow: the last two of each list are held out."""
    return choices[-2:] if settings.reworded else choices[:-2]


def vary_case(random: np.random.Generator, question: str) -> str:
    """Write as people do: sometimes all small, sometimes without the sign at the end."""
    if random.random() < LOWER_SHARE:
        question = question.lower()
    return question.rstrip("?.!") if random.random() < BARE_SHARE else question


def vary(random: np.random.Generator, question: str) -> str:
    """Put words before or behind the question too, so that it is found at any place."""
    question = vary_case(random, question)
    if random.random() < OPENED_SHARE:
        question = pick(random, OPENERS) + question
    return question + pick(random, CLOSERS) if random.random() < CLOSED_SHARE else question
