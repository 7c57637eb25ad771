"""Words for the tasks: given names, things, and names that nobody has met before."""

import numpy as np

from ossia.tasks.task import pick

NAMES = (
    "Anna", "Ben", "Clara", "David", "Emma", "Felix", "Grace", "Hugo", "Ida", "Jonas", "Kate",
    "Leo", "Maria", "Nils", "Olga", "Paul", "Rosa", "Sam", "Tina", "Victor", "Wanda", "Yara", "Zoe",
    "Ali", "Chen", "Diego", "Fatima", "Kofi", "Lin", "Priya",
)  # fmt: skip
THINGS = (
    "apples",
    "books",
    "cards",
    "coins",
    "cookies",
    "eggs",
    "flowers",
    "keys",
    "lemons",
    "marbles",
    "nuts",
    "oranges",
    "pears",
    "pencils",
    "pens",
    "photos",
    "plums",
    "shells",
    "stamps",
    "stickers",
    "stones",
    "tickets",
    "toys",
    "balls",
    "buttons",
    "candles",
    "cups",
    "letters",
    "roses",
    "spoons",
)
BOXES = ("bags", "boxes", "baskets", "jars", "packs", "rows", "shelves", "piles")
COLOURS = ("red", "blue", "green", "white", "black", "yellow", "grey", "brown")

_ONSETS = (
    "b", "d", "f", "g", "h", "k", "l", "m", "n", "p", "r", "s", "t", "v", "z", "br", "dr", "gr",
    "kl", "st", "tr",
)  # fmt: skip
_VOWELS = ("a", "e", "i", "o", "u")
_CODAS = ("", "", "", "n", "r", "l", "s", "k", "m", "nd", "rk")
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
