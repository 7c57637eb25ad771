"""Functions out of verbs, nouns and random arguments, and what may stand for each argument.

Knows schemas and values; not how a request for them is worded.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ossia.harmony.messages import FunctionTool
from ossia.tasks.nano.words import COLOURS, NAMES, code, digits, invented, load
from ossia.tasks.task import bucket, pick, pick_some

_DATA = load("schemas")
ASKING: tuple[str, ...] = _DATA["asking"]
DOING: tuple[str, ...] = _DATA["doing"]
NOUNS: tuple[str, ...] = _DATA["nouns"]
HELD_OUT = 10
"""Percentage of function names that are held out."""
OPTIONAL_SHARE, DESCRIBED_SHARE, EXPLAINED_SHARE, BARE_SHARE = 0.3, 0.7, 0.2, 0.06
"""Of arguments: optional; of functions: described, with described arguments, without any."""
INVENTED_SHARE = 0.15
"""Of functions and of arguments: with invented names, which can only be copied."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """An argument a function takes."""

    name: str
    schema: dict[str, Any]
    draw: Callable[[np.random.Generator], Any]
    required: bool = True


@dataclass(frozen=True, slots=True)
class Function:
    """A function, by the words it is made of."""

    verb: str
    noun: str
    parameters: tuple[Parameter, ...]
    described: bool

    @property
    def name(self) -> str:
        """The name of the function."""
        return f"{self.verb}_{self.noun}"

    @property
    def asks(self) -> bool:
        """Whether it brings something back, rather than does something."""
        return self.verb in ASKING

    @property
    def spoken_verb(self) -> str:
        """The verb in a sentence."""
        return self.verb.replace("_", " ")

    @property
    def tool(self) -> FunctionTool:
        """The declaration for a model."""
        return FunctionTool(
            name=self.name,
            description=f"{self.spoken_verb.capitalize()} the {self.noun}."
            if self.described
            else "",
            parameters={
                "type": "object",
                "properties": {each.name: each.schema for each in self.parameters},
                "required": [each.name for each in self.parameters if each.required],
            },
        )


def is_held_out(name: str) -> bool:
    """Whether a function of this name is held out."""
    return bucket(f"function {name}") < HELD_OUT


def draw_name(random: np.random.Generator, *, held_out: bool) -> tuple[str, str]:
    """A verb and a noun, on the side of training or on the other."""
    while True:
        verb, noun = pick(random, ASKING if random.random() < 0.5 else DOING), pick(random, NOUNS)
        if random.random() < INVENTED_SHARE:
            noun = invented(random).lower()
        if is_held_out(f"{verb}_{noun}") == held_out:
            return verb, noun


def draw_function(random: np.random.Generator, *, held_out: bool) -> Function:
    """A function of up to three arguments; the first is always required."""
    verb, noun = draw_name(random, held_out=held_out)
    count = 0 if random.random() < BARE_SHARE else int(random.integers(1, 4))
    kinds = pick_some(random, KINDS, count)
    parameters = [
        make(random, nth == 0 or random.random() > OPTIONAL_SHARE) for nth, make in enumerate(kinds)
    ]
    parameters = [_rename(random, each) for each in parameters]
    if random.random() < EXPLAINED_SHARE:
        for each in parameters:
            each.schema["description"] = f"The {each.name} of the {noun}."
    return Function(verb, noun, tuple(parameters), random.random() < DESCRIBED_SHARE)


def _rename(random: np.random.Generator, parameter: Parameter) -> Parameter:
    """Rename the argument sometimes, to an invented name."""
    if random.random() >= INVENTED_SHARE:
        return parameter
    return replace(parameter, name=invented(random).lower())


def _date(random: np.random.Generator, required: bool) -> Parameter:
    name = pick(random, ("date", "start", "due"))
    return Parameter(
        name,
        {"type": "string"},
        lambda random: (
            f"20{random.integers(20, 40)}-{random.integers(1, 13):02}-{random.integers(1, 29):02}"
        ),
        required,
    )


def _place(random: np.random.Generator, required: bool) -> Parameter:
    name = pick(random, ("city", "place", "location", "country", "street"))
    return Parameter(name, {"type": "string"}, invented, required)


def _person(random: np.random.Generator, required: bool) -> Parameter:
    name = pick(random, ("name", "person", "friend", "guest", "author"))
    return Parameter(
        name,
        {"type": "string"},
        lambda random: pick(random, NAMES) if random.random() < 0.4 else invented(random),
        required,
    )


def _text(random: np.random.Generator, required: bool) -> Parameter:
    name = pick(random, ("title", "text", "topic", "query", "subject"))
    return Parameter(
        name,
        {"type": "string"},
        lambda random: " ".join(
            pick(
                random, (*COLOURS, "house", "sea", "sun", "night", "day", "king", "song", "garden")
            )
            if random.random() < 0.6
            else invented(random).lower()
            for _ in range(int(random.integers(1, 4)))
        ),
        required,
    )


def _identifier(random: np.random.Generator, required: bool) -> Parameter:
    name = pick(random, ("id", "code", "key", "number"))
    return Parameter(
        name,
        {"type": "string"},
        lambda random: code(random) if random.random() < 0.7 else str(digits(random, 5)),
        required,
    )


def _count(random: np.random.Generator, required: bool) -> Parameter:
    name = pick(random, ("count", "days", "people", "minutes", "page", "level"))
    return Parameter(
        name,
        {"type": "integer"},
        lambda random: digits(random, int(random.integers(1, 4))),
        required,
    )


def _amount(random: np.random.Generator, required: bool) -> Parameter:
    name = pick(random, ("amount", "weight", "price", "speed"))
    return Parameter(
        name,
        {"type": "number"},
        lambda random: digits(random, 2) + int(random.integers(1, 10)) / 10,
        required,
    )


def _switch(random: np.random.Generator, required: bool) -> Parameter:
    name = pick(random, ("silent", "urgent", "public", "repeat"))
    return Parameter(
        name, {"type": "boolean"}, lambda random: bool(random.random() < 0.5), required
    )


def _choice(random: np.random.Generator, required: bool) -> Parameter:
    name, words = pick(
        random,
        (
            ("unit", ("celsius", "fahrenheit", "kelvin")),
            ("color", COLOURS),
            ("size", ("small", "medium", "large", "huge")),
            ("mode", ("fast", "slow", "auto", "eco")),
            ("day", ("monday", "tuesday", "friday", "sunday")),
            ("format", ("pdf", "text", "html")),
        ),
    )
    values = pick_some(random, words, int(random.integers(2, 4)))
    return Parameter(
        name,
        {"type": "string", "enum": list(values)},
        lambda random: pick(random, values),
        required,
    )


KINDS = (_place, _person, _text, _identifier, _count, _amount, _switch, _choice, _date)
"""A function takes at most one argument of each; no two of them share a name."""
