"""The shipped nano against what was counted when it was shipped.

The figures beside this file: `ossia eval nano --n 20 --column trained --effort medium --json`.
"""

import json
from pathlib import Path

import pytest

from ossia import LLM
from ossia.evals.nano import measure
from ossia.evals.nano_cells import DRAWS, Cell

FIGURES = json.loads((Path(__file__).parent / "nano_figures.json").read_text())
ROWS = {row["task"]: row for row in FIGURES["rows"]}
SLACK = 1
"""Of 20: float32 sums may fall in another order on another processor."""


@pytest.fixture(scope="module")
def llm():
    with LLM("nano") as opened:
        yield opened


def test_every_line_of_the_table_has_its_figure():
    assert list(ROWS) == list(DRAWS)


@pytest.mark.slow
@pytest.mark.parametrize("task", ROWS)
def test_as_many_are_right_as_were_when_it_was_shipped(llm, task):
    stored = ROWS[task]
    cell = Cell(task=task, column=stored["column"], effort=stored["effort"])
    [row] = measure(llm, [cell], FIGURES["n"]).rows
    assert row.n == stored["n"]
    assert abs(row.right - stored["right"]) <= SLACK
