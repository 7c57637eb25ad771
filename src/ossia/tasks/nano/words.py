"""Words for the tasks, which lie beside the code as JSON: data/TASK.json; and invented ones."""

import json
from importlib.resources import files
from typing import Any

import numpy as np

from ossia.tasks.task import pick


def load(task: str) -> dict[str, Any]:
    """The tables of a task by their names; every list is a tuple."""
    text = files("ossia.tasks.nano").joinpath("data", f"{task}.json").read_text(encoding="utf-8")
    return {name: _frozen(value) for name, value in json.loads(text).items()}


def _frozen(value: Any) -> Any:
    match value:
        case list():
            return tuple(_frozen(each) for each in value)
        case dict():
            return {key: _frozen(each) for key, each in value.items()}
    return value


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
