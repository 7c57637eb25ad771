import re

import numpy as np

from ossia.tasks.nano.arithmetic import draw_problem
from ossia.tasks.nano.columns import PLACES, Problem, columns, parts
from ossia.tasks.nano.products import draw_problem as draw_product
from tests.tasks.nano.reading import terms

LINE = re.compile(rf"({'|'.join(PLACES)}) ([\d +-]+) = (\d+)(?: (carry|borrow) 1)? write (\d+)")
PART = re.compile(r"(\d+) \* (\d): (.+) gives (\d+)(?: with (\d) zero (\d+))?")


def test_every_line_of_the_columns_is_true():
    random = np.random.default_rng(0)
    for problem in (draw_problem(random, "train") for _ in range(500)):
        first, *lines = columns(problem).split("\n")
        found = ""
        for line in lines:
            if line.startswith("so "):
                assert int(line.removeprefix("so ")) == problem.result
                continue
            _, sides, value, moved, shown = LINE.fullmatch(line).groups()
            assert terms(sides) == int(value)
            assert shown == str(int(value) - (10 if moved == "carry" else 0)) + found
            assert (" - " in sides) == (problem.sign == "-")
            found = shown
        assert first.startswith(f"{problem.a} {problem.sign} {problem.b}")
        assert abs(problem.result) == int(found)


def test_the_columns_of_a_sum_are_those_of_a_school_book():
    assert columns(Problem(37, "+", 48)) == (
        "37 + 48\nones 7 + 8 = 15 carry 1 write 5\ntens 3 + 4 + 1 = 8 write 85"
    )
    assert columns(Problem(27, "-", 90)) == (
        "27 - 90 = -(90 - 27)\nones 10 - 7 = 3 borrow 1 write 3\n"
        "tens 9 - 2 - 1 = 6 write 63\nso -63"
    )


def test_every_part_of_a_product_is_true_and_the_parts_add_up():
    random = np.random.default_rng(0)
    for problem in (draw_product(random, "train") for _ in range(300)):
        work = parts(problem)
        assert work.split()[-1] == str(problem.result)
        total = 0
        for line in work.split("\n")[1:]:
            if (part := PART.fullmatch(line)) is None:
                break
            number, digit, steps, product, zeros, shifted = part.groups()
            assert int(number) * int(digit) == int(product)
            for step in steps.split(", "):
                factors, value = step.split(" = ")
                first, rest = factors.split(" * ")
                second, *carried = rest.split(" + ")
                assert int(first) * int(second) + sum(map(int, carried)) == int(value)
            total += int(shifted or product)
            assert shifted is None or int(shifted) == int(product) * 10 ** int(zeros)
        assert total == problem.result


def test_a_product_of_two_digits_is_worked_out_digit_by_digit():
    assert parts(Problem(37, "*", 42)).split("\n")[:3] == [
        "37 * 42",
        "42 * 7: 2 * 7 = 14, 4 * 7 + 1 = 29 gives 294",
        "42 * 3: 2 * 3 = 6, 4 * 3 = 12 gives 126 with 1 zero 1260",
    ]
