"""The tasks, and what share of the dialogues each has: a new one is a file and a line here."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from ossia.harmony.messages import Conversation
from ossia.tasks.nano import (
    arithmetic,
    chains,
    comparisons,
    functions,
    orders,
    products,
    python_tool,
    records,
    search,
    small_talk,
    stories,
    word_problems,
)
from ossia.tasks.task import Draw, Setting, Undrawable


class Task(NamedTuple):
    """One of the tasks."""

    share: float
    """Of the dialogues."""
    late_share: float
    """The same from batch `LATE` on."""
    draw: Draw


LATE = 1900
"""By then sums are learned; what copies from far away needs the most examples, so it gets them."""
TASKS: Mapping[str, Task] = MappingProxyType(
    {
        "arithmetic": Task(0.20, 0.16, arithmetic.draw),
        "products": Task(0.05, 0.03, products.draw),
        "comparisons": Task(0.03, 0.03, comparisons.draw),
        "chains": Task(0.04, 0.03, chains.draw),
        "word problems": Task(0.15, 0.11, word_problems.draw),
        "functions": Task(0.15, 0.22, functions.draw),
        "python": Task(0.08, 0.05, python_tool.draw),
        "search": Task(0.08, 0.20, search.draw),
        "records": Task(0.10, 0.10, records.draw),
        "orders": Task(0.05, 0.03, orders.draw),
        "small talk": Task(0.04, 0.02, small_talk.draw),
        "stories": Task(0.03, 0.02, stories.draw),
    }
)
TOOL_TASKS = ("functions", "python", "search")
"""Their system messages are long or their own, so a batch shares one among all dialogues of one."""
HELD_OUT_KINDS = (
    "comparisons",
    "chains",
    "word problems",
    "functions",
    "python",
    "search",
    "records",
    "orders",
    "stories",
)
"""The tasks that keep a kind out of training."""


def draw(random: np.random.Generator, setting: Setting, task: str) -> Conversation:
    """A conversation of one task, drawn again where a schema leaves too few values."""
    while True:
        try:
            return TASKS[task].draw(random, setting)
        except Undrawable:
            continue
