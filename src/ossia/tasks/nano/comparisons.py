"""Which of two numbers is larger or smaller: by their lengths, or by the first other digits.

Held out: numbers of four digits.
"""

import numpy as np

from ossia.harmony.messages import Conversation
from ossia.tasks.nano.messages import converse, exchange
from ossia.tasks.nano.words import digits, load
from ossia.tasks.task import (
    TaskSettings,
    draw_of_split,
    pick,
    split_of,
    vary,
    wordings,
)

SAME_LENGTH_SHARE, EQUAL_SHARE = 0.7, 0.05
_DATA = load("comparisons")
WORDINGS: tuple[str, ...] = _DATA["wordings"]
WORDS = {"larger": ("larger", "bigger", "greater"), "smaller": ("smaller", "less", "lower")}


def draw(random: np.random.Generator, settings: TaskSettings) -> Conversation:
    """Two numbers and a question; numbers of four digits are held out."""

    def draw_two(random: np.random.Generator) -> tuple[int, int]:
        length = 4 if settings.held_out else int(random.integers(1, 4))
        a = digits(random, length)
        if random.random() < EQUAL_SHARE:
            return a, a
        same = settings.held_out or random.random() < SAME_LENGTH_SHARE
        return a, digits(random, length if same else int(random.integers(1, 4)))

    a, b = draw_of_split(
        random, settings.split, draw_two, lambda two: split_of(f"{min(two)}<{max(two)}")
    )
    if random.random() < 0.5:
        a, b = b, a
    wanted = "larger" if random.random() < 0.5 else "smaller"
    wording = pick(random, wordings(WORDINGS, settings))
    question = wording.format(a=a, b=b, more=pick(random, WORDS[wanted]))
    answer = "They are equal." if a == b else str(max(a, b) if wanted == "larger" else min(a, b))
    reasoning = settings.think(_reasoning(a, b, wanted), f"check {_reasoning(b, a, wanted)}\nok")
    text = question if settings.reworded else vary(random, question)
    return converse(exchange(text, reasoning, answer), settings)


def _reasoning(a: int, b: int, wanted: str) -> str:
    """Digit counts, then digits from the left until they differ."""
    if a == b:
        return f"{a} and {b}\nequal"
    one, two = str(a), str(b)
    if len(one) != len(two):
        seen = f"{len(one)} and {len(two)} digits"
    else:
        at = next(at for at, (x, y) in enumerate(zip(one, two, strict=True)) if x != y)
        pairs = [f"{x} = {x}" for x in one[:at]]
        seen = ", ".join([*pairs, f"{one[at]} {'<' if a < b else '>'} {two[at]}"])
    return f"{a} and {b}\n{seen}\n{wanted} {max(a, b) if wanted == 'larger' else min(a, b)}"
