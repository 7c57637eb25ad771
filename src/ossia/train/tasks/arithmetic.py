"""Sums and differences of numbers of one to three digits, worked out in columns from the right.

Low effort answers at once; medium writes the columns; high also checks by the inverse operation.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ossia.train.tasks.task import Exchange, Setting, Split, bucket, pick, vary, wordings

PLACES = ("ones", "tens", "hundreds")
MAX_DIGITS = len(PLACES)
TWO_DIGIT_SHARE = 0.35
"""Problems of two two-digit numbers; the other lengths share the rest evenly."""
TEST, TEST_BELOW_100 = 2, 10
VALIDATION = 2
"""Of 100 families; those of small numbers give more to the test, or it would be too small."""

SUM_WORDINGS = (
    "What is {a} + {b}?",
    "{a}+{b}",
    "{a} + {b}",
    "{a} + {b} = ?",
    "{a}+{b}=",
    "What is {a}+{b}?",
    "what is {a} + {b}",
    "Compute {a} plus {b}.",
    "compute {a} + {b}",
    "Add {a} and {b}.",
    "add {a} and {b}",
    "How much is {a} + {b}?",
    "how much is {a} plus {b}?",
    "Calculate {a} + {b}.",
    "What is the sum of {a} and {b}?",
    "what's {a} plus {b}?",
    "Please add {a} and {b}.",
    "Can you tell me what {a} + {b} is?",
    "what does {a} + {b} make?",
    "The sum of {a} and {b}",
    "{a} and {b} together are",
    "Find {a} + {b}.",
    "Solve {a} + {b}",
    "I want to know {a} + {b}.",
    "Could you work out {a} + {b} for me?",
    "{a} plus {b} equals what?",
)
DIFFERENCE_WORDINGS = (
    "What is {a} - {b}?",
    "{a}-{b}",
    "{a} - {b}",
    "{a} - {b} = ?",
    "{a}-{b}=",
    "What is {a}-{b}?",
    "what is {a} - {b}",
    "Compute {a} minus {b}.",
    "compute {a} - {b}",
    "Subtract {b} from {a}.",
    "subtract {b} from {a}",
    "How much is {a} - {b}?",
    "how much is {a} minus {b}?",
    "Calculate {a} - {b}.",
    "Take {b} away from {a}.",
    "what's {a} minus {b}?",
    "Please subtract {b} from {a}.",
    "Can you tell me what {a} - {b} is?",
    "what does {a} - {b} make?",
    "{a} less {b}",
    "From {a} take {b}.",
    "Find {a} - {b}.",
    "Solve {a} - {b}",
    "I want to know {a} - {b}.",
    "Could you work out {a} - {b} for me?",
    "{a} minus {b} equals what?",
)


@dataclass(frozen=True, slots=True)
class Problem:
    """A sum or a difference of two numbers that are not negative."""

    a: int
    sign: Literal["+", "-"]
    b: int

    @property
    def result(self) -> int:
        """The right answer."""
        return self.a + self.b if self.sign == "+" else self.a - self.b

    @property
    def split(self) -> Split:
        """Decided by the family x + y = z: all its sums and differences stand on one side.

        So neither a turned-round twin nor the check of another problem shows a test problem.
        """
        low, high = sorted((self.a, self.b))
        x, y = (low, high) if self.sign == "+" else sorted((low, high - low))
        test = TEST_BELOW_100 if y < 100 else TEST
        place = bucket(f"{x}+{y}")
        if place < test:
            return "test"
        return "validation" if place < test + VALIDATION else "train"


def draw_problem(random: np.random.Generator, split: Split) -> Problem:
    """A problem of one side of the split."""
    while True:
        if random.random() < TWO_DIGIT_SHARE:
            lengths = [2, 2]
        else:
            lengths = [int(length) for length in random.integers(1, MAX_DIGITS + 1, 2)]
        a, b = (draw_number(random, length) for length in lengths)
        problem = Problem(a, "+" if random.random() < 0.5 else "-", b)
        if problem.split == split:
            return problem


def draw_number(random: np.random.Generator, digits: int) -> int:
    """A number of so many digits, all equally likely."""
    return int(random.integers(10 ** (digits - 1) if digits > 1 else 0, 10**digits))


def draw(random: np.random.Generator, setting: Setting) -> Exchange:
    """A question in one of its wordings, with the reasoning that the effort asks for."""
    return exchange(random, draw_problem(random, setting.split), setting)


def exchange(random: np.random.Generator, problem: Problem, setting: Setting) -> Exchange:
    """Ask one given problem."""
    every = SUM_WORDINGS if problem.sign == "+" else DIFFERENCE_WORDINGS
    wording = pick(random, wordings(every, setting))
    question = wording.format(a=problem.a, b=problem.b)
    return Exchange(
        question=question if setting.reworded else vary(random, question),
        reasoning=reasoning(problem, setting),
        answer=str(problem.result),
    )


def reasoning(problem: Problem, setting: Setting) -> str | None:
    """Nothing, the columns, or the columns and the inverse operation."""
    if setting.effort == "low":
        return None
    if setting.effort == "medium":
        return columns(problem)
    small, large = sorted((problem.a, problem.b))
    inverse = (
        Problem(problem.result, "-", problem.b)
        if problem.sign == "+"
        else Problem(large - small, "+", small)
    )
    return f"{columns(problem)}\ncheck {columns(inverse)}\nok"


def columns(problem: Problem) -> str:
    """Work from the right, one line a column; each line ends with all digits found so far."""
    top, bottom = problem.a, problem.b
    first = f"{top} {problem.sign} {bottom}"
    if problem.result < 0:
        top, bottom = bottom, top
        first += f" = -({top} - {bottom})"
    places = PLACES[: max(len(str(top)), len(str(bottom)))]
    lines, found, moved = [first], "", 0
    for nth, place in enumerate(places):
        upper, lower = (number // 10**nth % 10 for number in (top, bottom))
        term = f" {problem.sign} 1" if moved else ""
        if problem.sign == "+":
            value = upper + lower + moved
            moved = int(value > 9 and place != places[-1])
            written = value - 10 * moved
        else:
            borrowed = int(upper < lower + moved)
            upper += 10 * borrowed
            value = written = upper - lower - moved
            moved = borrowed
        move = f" {'carry' if problem.sign == '+' else 'borrow'} 1" if moved else ""
        found = f"{written}{found}"
        lines.append(f"{place} {upper} {problem.sign} {lower}{term} = {value}{move} write {found}")
    if found != str(problem.result):
        lines.append(f"so {problem.result}")
    return "\n".join(lines)
