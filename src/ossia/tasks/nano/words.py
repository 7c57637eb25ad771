"""Words for the tasks: first names, things, and invented names."""

import numpy as np

from ossia.tasks.nano.tables import load
from ossia.tasks.task import pick

_DATA = load("words")
NAMES: tuple[str, ...] = _DATA["names"]
THINGS: tuple[str, ...] = _DATA["things"]
BOXES: tuple[str, ...] = _DATA["boxes"]
COLOURS: tuple[str, ...] = _DATA["colours"]

_ONSETS: tuple[str, ...] = _DATA["onsets"]
_VOWELS = ("a", "e", "i", "o", "u")
_CODAS: tuple[str, ...] = _DATA["codas"]
_LETTERS = "abcdefghijkmnpqrstuvwxyz"


def invented(random: np.random.Generator) -> str:
    """A name made of two or three syllables, such as Tralemo: it can only be copied."""
    syllables = int(random.integers(2, 4))
    name = "".join(pick(random, _ONSETS) + pick(random, _VOWELS) for _ in range(syllables))
    return (name + pick(random, _CODAS)).capitalize()


def code(random: np.random.Generator) -> str:
    """Letters and digits, such as k7f2: an identifier."""
    length = int(random.integers(3, 6))
    return pick(random, _LETTERS) + "".join(
        str(random.integers(10)) if random.random() < 0.6 else pick(random, _LETTERS)
        for _ in range(length)
    )


def digits(random: np.random.Generator, count: int) -> int:
    """A number of so many digits, all equally likely."""
    return int(random.integers(10 ** (count - 1) if count > 1 else 0, 10**count))
