"""The test set of nano: held-out dialogues of every task, the same at every effort.

Knows the generators, not the model.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

from ossia.harmony.messages import Conversation, Effort
from ossia.tasks.nano import HELD_OUT_KINDS, TASKS, arithmetic, products
from ossia.tasks.task import Column, Draw, TaskSettings, Undrawable, seeded

SEED = 7
DATE = "2026-11-21"
MAX_TRIES = 20
"""Attempts to draw a new dialogue: some tasks have few different ones."""
EFFORTS: tuple[Effort, ...] = ("low", "medium", "high")
COLUMNS: tuple[Column, ...] = ("trained", "reworded", "held-out")


DRAWS: Mapping[str, Draw] = MappingProxyType(
    {
        "+ and -, 1 to 3 digits": partial(arithmetic.draw_of_length, least=1, most=3),
        "+ and -, 4 digits": partial(arithmetic.draw_of_length, least=4, most=4),
        "products, 2 by 2 digits": partial(products.draw, lengths=((2, 2),)),
        **{name: task.draw for name, task in TASKS.items() if name != "arithmetic"},
    }
)
"""The generator of each row of the table, by its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One cell of the table."""

    task: str
    column: Column
    effort: Effort


def cells(
    tasks: tuple[str, ...], columns: tuple[Column, ...], efforts: tuple[Effort, ...]
) -> Iterator[Cell]:
    """List the cells of the table; tasks without a held-out kind lack that column."""
    for task in tasks:
        for column in columns:
            if column != "held-out" or task in HELD_OUT_KINDS:
                yield from (Cell(task=task, column=column, effort=each) for each in efforts)


def items(cell: Cell, n: int) -> list[Conversation]:
    """Draw up to n different dialogues; the n-th has the same problem at every effort."""
    random = seeded(SEED, list(DRAWS).index(cell.task), COLUMNS.index(cell.column))
    settings = TaskSettings(effort=cell.effort, date=DATE, split="test", column=cell.column)
    if cell.task == "small talk" and cell.column == "trained":
        settings = TaskSettings(effort=cell.effort, date=DATE)  # there is nothing to find out
    found: dict[tuple[str | None, ...], Conversation] = {}
    for _ in range(MAX_TRIES * n):
        try:
            conversation = DRAWS[cell.task](random, settings)
        except Undrawable:
            continue
        questions = (each.text for each in conversation.messages if each.role == "user")
        found.setdefault((conversation.instructions, *questions), conversation)
        if len(found) == n:
            break
    return list(found.values())
