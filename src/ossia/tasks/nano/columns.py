"""Sums and differences worked out in columns from the right, products by their parts.

Knows numbers and how work is written down; nothing of questions or efforts.
"""

from dataclasses import dataclass
from typing import Literal

from ossia.tasks.task import VALIDATION, Split, bucket

PLACES = ("ones", "tens", "hundreds", "thousands", "ten thousands")
TEST, TEST_BELOW_100 = 2, 10
"""Of 100 families; those of small numbers give more to the test, or it would be too small."""

Sign = Literal["+", "-", "*"]


@dataclass(frozen=True, slots=True)
class Problem:
    """A sum, a difference or a product of two numbers that are not negative."""

    a: int
    sign: Sign
    b: int

    @property
    def result(self) -> int:
        """The right answer."""
        match self.sign:
            case "+":
                return self.a + self.b
            case "-":
                return self.a - self.b
            case "*":
                return self.a * self.b

    @property
    def split(self) -> Split:
        """Decided by the family x + y = z: all its sums and differences stand on one side.

        So neither a turned-round twin nor the check of another problem shows a test problem.
        """
        low, high = sorted((self.a, self.b))
        if self.sign == "*":
            place, test = bucket(f"{low}*{high}"), TEST_BELOW_100
        else:
            x, y = (low, high) if self.sign == "+" else sorted((low, high - low))
            place, test = bucket(f"{x}+{y}"), TEST_BELOW_100 if y < 100 else TEST
        if place < test:
            return "test"
        return "validation" if place < test + VALIDATION else "train"

    def __str__(self) -> str:
        """The problem as it is written."""
        return f"{self.a} {self.sign} {self.b}"


def work(problem: Problem) -> str:
    """The whole work; its last word is the result."""
    return parts(problem) if problem.sign == "*" else columns(problem)


def columns(problem: Problem) -> str:
    """Work from the right, one line a column; each line ends with all digits found so far."""
    top, bottom = problem.a, problem.b
    first = str(problem)
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


def parts(problem: Problem) -> str:
    """One line for each digit of the shorter number, from its right; then their sum in columns."""
    long, short = max(problem.a, problem.b), min(problem.a, problem.b)
    lines, products = [str(problem)], []
    for nth, digit in enumerate(reversed(str(short))):
        product = long * int(digit)
        zeros = f" with {nth} zero {product}{'0' * nth}" if nth and product else ""
        lines.append(
            f"{long} * {digit}: {_digit_by_digit(long, int(digit))} gives {product}{zeros}"
        )
        products.append(product * 10**nth)
    if len(products) > 1:
        lines.append(columns(Problem(products[0], "+", products[1])))
    return "\n".join(lines)


def _digit_by_digit(number: int, digit: int) -> str:
    """Each digit of a number times one digit, from the right, with what is carried."""
    steps, moved = [], 0
    for each in reversed(str(number)):
        value = int(each) * digit + moved
        steps.append(f"{each} * {digit}{f' + {moved}' if moved else ''} = {value}")
        moved = value // 10
    return ", ".join(steps)
