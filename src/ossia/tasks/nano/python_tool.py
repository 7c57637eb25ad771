"""Python for what is too long or too fiddly to do in the head: one expression, then its value.

Without the tool long numbers are refused; with it, small ones are still worked out by hand. Held
out: a product less a number.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from ossia.harmony.messages import Conversation, Message
from ossia.tasks.nano.messages import call_builtin, converse, exchange, final, result, thought, user
from ossia.tasks.nano.words import NAMES, THINGS, digits, invented, load
from ossia.tasks.task import (
    TaskSettings,
    draw_of_split,
    pick,
    split_of,
    vary,
    wordings,
)

WITHOUT_SHARE = 0.07
"""Share of long numbers in dialogues without the tool."""
TOO_LONG = "These numbers are too long for me without the python tool."


class PythonProblem(NamedTuple):
    """An expression, its value, and what the wordings put in for it."""

    expression: str
    value: int | str | list[int]
    words: dict[str, Any]


def _two(random: np.random.Generator) -> tuple[int, int]:
    a, b = (digits(random, int(random.integers(5, 10))) for _ in range(2))
    return max(a, b), min(a, b)


def _sum(random: np.random.Generator) -> PythonProblem:
    a, b = _two(random)
    return PythonProblem(f"{a} + {b}", a + b, {"a": a, "b": b, "sign": "+", "name": "plus"})


def _difference(random: np.random.Generator) -> PythonProblem:
    a, b = _two(random)
    return PythonProblem(f"{a} - {b}", a - b, {"a": a, "b": b, "sign": "-", "name": "minus"})


def _product(random: np.random.Generator) -> PythonProblem:
    a, b = (digits(random, int(random.integers(3, 7))) for _ in range(2))
    return PythonProblem(f"{a} * {b}", a * b, {"a": a, "b": b, "sign": "*", "name": "times"})


def _product_and(random: np.random.Generator) -> PythonProblem:
    a, b, c = (digits(random, int(random.integers(3, 6))) for _ in range(3))
    return PythonProblem(f"{a} * {b} + {c}", a * b + c, {"chain": f"{a} * {b} + {c}"})


def _product_less(random: np.random.Generator) -> PythonProblem:
    a, b, c = (digits(random, int(random.integers(3, 6))) for _ in range(3))
    return PythonProblem(f"{a} * {b} - {c}", a * b - c, {"chain": f"{a} * {b} - {c}"})


def _remainder(random: np.random.Generator) -> PythonProblem:
    a, b = (
        digits(random, int(random.integers(4, 8))),
        digits(random, int(random.integers(1, 4))) + 1,
    )
    return PythonProblem(f"{a} % {b}", a % b, {"a": a, "b": b})


def _power(random: np.random.Generator) -> PythonProblem:
    a, b = digits(random, 2), int(random.integers(3, 9))
    return PythonProblem(f"{a} ** {b}", a**b, {"a": a, "b": b})


def _numbers(random: np.random.Generator) -> list[int]:
    return [digits(random, int(random.integers(1, 4))) for _ in range(int(random.integers(4, 8)))]


def _total(random: np.random.Generator) -> PythonProblem:
    numbers = _numbers(random)
    return PythonProblem(f"sum({numbers})", sum(numbers), {"list": ", ".join(map(str, numbers))})


def _largest(random: np.random.Generator) -> PythonProblem:
    numbers = _numbers(random)
    return PythonProblem(f"max({numbers})", max(numbers), {"list": ", ".join(map(str, numbers))})


def _sorted(random: np.random.Generator) -> PythonProblem:
    numbers = _numbers(random)
    return PythonProblem(
        f"sorted({numbers})", sorted(numbers), {"list": ", ".join(map(str, numbers))}
    )


def _word(random: np.random.Generator) -> str:
    word = invented(random) if random.random() < 0.7 else pick(random, (*NAMES, *THINGS))
    return word.lower()


def _reversed(random: np.random.Generator) -> PythonProblem:
    word = _word(random)
    return PythonProblem(f"'{word}'[::-1]", word[::-1], {"word": word})


def _length(random: np.random.Generator) -> PythonProblem:
    word = _word(random)
    return PythonProblem(f"len('{word}')", len(word), {"word": word})


def _letters(random: np.random.Generator) -> PythonProblem:
    word, letter = _word(random), pick(random, "aeiourstln")
    return PythonProblem(
        f"'{word}'.count('{letter}')", word.count(letter), {"word": word, "letter": letter}
    )


_DATA = load("python_tool")
_PAIR: tuple[str, ...] = _DATA["pair"]
_CHAIN: tuple[str, ...] = _DATA["chain"]
_WORDINGS: Mapping[str, tuple[str, ...]] = _DATA["wordings"]
_Make: TypeAlias = Callable[[np.random.Generator], PythonProblem]
KINDS: Mapping[str, tuple[_Make, tuple[str, ...]]] = MappingProxyType(
    {
        "sum": (_sum, _PAIR),
        "difference": (_difference, _PAIR),
        "product": (_product, _PAIR),
        "product and": (_product_and, _CHAIN),
        "remainder": (_remainder, _WORDINGS["remainder"]),
        "power": (_power, _WORDINGS["power"]),
        "total": (_total, _WORDINGS["total"]),
        "largest": (_largest, _WORDINGS["largest"]),
        "sorted": (_sorted, _WORDINGS["sorted"]),
        "reversed": (_reversed, _WORDINGS["reversed"]),
        "length": (_length, _WORDINGS["length"]),
        "letters": (_letters, _WORDINGS["letters"]),
    }
)
HELD_OUT = (_product_less, _CHAIN)
LONG = ("sum", "difference", "product")


def draw(random: np.random.Generator, settings: TaskSettings) -> Conversation:
    """A question for the tool, or one that would need it where there is none."""
    if not settings.held_out and random.random() < WITHOUT_SHARE:
        make, wording = KINDS[pick(random, LONG)]
        problem = _draw(random, settings, make)
        question = pick(random, wordings(wording[:7] + wording[-2:], settings)).format(
            **problem.words
        )
        reasoning = settings.think("Too long, and no python.", "I say so.")
        return converse(exchange(question, reasoning, TOO_LONG), settings)
    make, wording = HELD_OUT if settings.held_out else KINDS[pick(random, tuple(KINDS))]
    problem = _draw(random, settings, make)
    question = pick(random, wordings(wording, settings)).format(**problem.words)
    if not settings.reworded and random.random() < 0.3:
        question = vary(random, question)
    return converse(_steps(question, problem, settings), settings, builtins=("python",))


def _draw(
    random: np.random.Generator,
    settings: TaskSettings,
    make: Callable[[np.random.Generator], PythonProblem],
) -> PythonProblem:
    return draw_of_split(random, settings.split, make, lambda one: split_of(one.expression))


def _steps(question: str, problem: PythonProblem, settings: TaskSettings) -> tuple[Message, ...]:
    """Question, call, value, answer."""
    call = call_builtin("python", problem.expression)
    answer = str(problem.value).strip("[]")
    seen = thought(f"python says {answer}") if settings.effort == "high" else ()
    return (
        user(question),
        *thought(settings.think(f"I use python: {problem.expression}", "One expression will do.")),
        call,
        result(call, repr(problem.value)),
        *seen,
        final(answer),
    )
