"""Word problems of one to three steps; the reasoning writes the equations and works them out.

The stories are in data/word_problems.json. Held out: one kind of problem.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ossia.harmony.messages import Conversation
from ossia.tasks.nano.columns import Problem, Sign, work
from ossia.tasks.nano.messages import converse, exchange
from ossia.tasks.nano.words import BOXES, COLOURS, NAMES, THINGS, digits, invented, load
from ossia.tasks.task import (
    TaskSettings,
    draw_of_split,
    pick,
    pick_some,
    split_of,
    vary_case,
    wordings,
)

ASIDE_SHARE = 0.1
"""Stories with one number too many."""
INVENTED_SHARE = 0.15
"""Stories with invented names."""
SMALL = 10
"""Sums below it are facts, not columns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoryKind:
    """Stories that ask for the same calculation."""

    name: str
    sizes: Mapping[str, int]
    """Most digits of each number."""
    steps: tuple[tuple[str, Sign, str], ...]
    """Numbers by their names; r1, r2, ... are what the earlier steps found."""
    unit: str
    wordings: tuple[str, ...]
    """The last two are held out."""
    held_out: bool = False


_DATA = load("word_problems")
ASIDES: tuple[str, ...] = _DATA["asides"]
"""Sentences with a number that is not needed."""
KINDS = tuple(StoryKind(**each) for each in _DATA["kinds"])


@dataclass(frozen=True, slots=True)
class WordProblem:
    """A kind with its numbers."""

    kind: StoryKind
    numbers: dict[str, int]

    def __str__(self) -> str:
        """What decides the split."""
        return f"{self.kind.name} {sorted(self.numbers.items())}"


def draw(random: np.random.Generator, settings: TaskSettings) -> Conversation:
    """A story with its question."""
    kinds = [kind for kind in KINDS if kind.held_out == settings.held_out]

    def draw_problem(random: np.random.Generator) -> WordProblem:
        kind = pick(random, kinds)
        return WordProblem(kind, _numbers(random, kind))

    problem = draw_of_split(random, settings.split, draw_problem, lambda one: split_of(str(one)))
    names, things = list(pick_some(random, NAMES, 2)), list(pick_some(random, THINGS, 2))
    if random.random() < INVENTED_SHARE:
        names[0], things[0] = invented(random), f"{invented(random).lower()}s"
    story = pick(random, wordings(problem.kind.wordings, settings))
    if random.random() < ASIDE_SHARE:
        story = f"{pick(random, ASIDES)} {story}"
    words = {
        "name": names[0], "other": names[1], "things": things[0], "more": things[1],
        "boxes": pick(random, BOXES), "colour": pick(random, COLOURS),
        "aside": int(random.integers(2, 60)),
    }  # fmt: skip
    question = story.format(**words, **problem.numbers)
    pairs = equations(problem)
    answer = f"{pairs[-1].result} {problem.kind.unit.format(**words)}"
    reasoning = settings.think(
        "\n".join(work_out(pair) for pair in pairs),
        "\n".join(("check", work_out(inverse(pairs[-1])), "ok")),
    )
    if not settings.reworded and random.random() < 0.2:
        question = vary_case(random, question)
    return converse(exchange(question, reasoning, answer), settings)


def equations(problem: WordProblem) -> list[Problem]:
    """The steps in order; each may use what an earlier one found, under its name r1, r2, ..."""
    known, pairs = dict(problem.numbers), []
    for nth, (left, sign, right) in enumerate(problem.kind.steps, start=1):
        a, b = (known[side] if side in known else int(side) for side in (left, right))
        pairs.append(Problem(a, sign, b))
        known[f"r{nth}"] = pairs[-1].result
    return pairs


def work_out(pair: Problem) -> str:
    """A fact on one line, anything larger in full."""
    is_fact = max(pair.a, pair.b) < SMALL or (pair.sign != "*" and pair.result < SMALL)
    return f"{pair} = {pair.result}" if is_fact else work(pair)


def inverse(pair: Problem) -> Problem:
    """The inverse of a sum or difference; a product turned round."""
    match pair.sign:
        case "+":
            return Problem(pair.result, "-", pair.b)
        case "-":
            return Problem(pair.result, "+", pair.b)
        case "*":
            return Problem(pair.b, "*", pair.a)


def _numbers(random: np.random.Generator, kind: StoryKind) -> dict[str, int]:
    """Numbers of the kind's sizes, until no step falls below zero."""
    while True:
        numbers = {
            name: max(2, digits(random, int(random.integers(1, most + 1))))
            for name, most in kind.sizes.items()
        }
        if min(pair.result for pair in equations(WordProblem(kind, numbers))) > 0:
            return numbers
