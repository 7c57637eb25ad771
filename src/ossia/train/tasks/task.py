"""What a task is: something that draws a question, the reasoning an effort asks for, the answer.

Knows nothing of tokens or of how a dialogue is framed.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from ossia.harmony.messages import Effort

Split = Literal["train", "validation", "test"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What the system message says, and which questions may be drawn."""

    effort: Effort
    date: str | None = None
    split: Split = "train"
    reworded: bool = False
    """Ask in the wordings that are kept out of training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One question with its answer; no reasoning where the effort asks for none."""

    question: str
    reasoning: str | None
    answer: str


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

Draw: TypeAlias = Callable[[np.random.Generator, Setting], Exchange]
"""A task: all its randomness comes from the generator."""


def bucket(problem: str) -> int:
    """A number from 0 to 99 that depends on nothing but the problem: it decides the split."""
    return int.from_bytes(hashlib.sha256(problem.encode()).digest()[:8], "little") % 100


def pick(random: np.random.Generator, choices: tuple[str, ...]) -> str:
    """Choose one of the texts."""
    return choices[int(random.integers(len(choices)))]


def wordings(choices: tuple[str, ...], setting: Setting) -> tuple[str, ...]:
    """The wordings a setting may use: the last two of each list are kept out of training."""
    return choices[-2:] if setting.reworded else choices[:-2]


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
