"""The tasks, and what share of the dialogues each has: a new one is a file and a line here."""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from ossia.harmony.messages import Conversation
from ossia.train.tasks import (
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
from ossia.train.tasks.task import Draw, Setting, Undrawable

TASKS: Mapping[str, tuple[float, Draw]] = MappingProxyType(
    {
        "arithmetic": (0.20, arithmetic.draw),
        "products": (0.05, products.draw),
        "comparisons": (0.03, comparisons.draw),
        "chains": (0.04, chains.draw),
        "word problems": (0.15, word_problems.draw),
        "functions": (0.15, functions.draw),
        "python": (0.08, python_tool.draw),
        "search": (0.08, search.draw),
        "records": (0.10, records.draw),
        "orders": (0.05, orders.draw),
        "small talk": (0.04, small_talk.draw),
        "stories": (0.03, stories.draw),
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
            return TASKS[task][1](random, setting)
        except Undrawable:
            continue
