"""The tasks and their shares of the dialogues; a new task is a file and a line here."""

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
    instruction_hierarchy,
    products,
    python_tool,
    records,
    search,
    small_talk,
    stories,
    word_problems,
)
from ossia.tasks.task import Draw, TaskSettings, Undrawable


class NanoTask(NamedTuple):
    """A task and its share of the training dialogues."""

    share: float
    """Its share of the dialogues."""
    late_share: float
    """Its share from batch `LATE` on."""
    draw: Draw


LATE = 1900
"""By then sums are learned; what copies from far away needs the most examples, so it gets them."""
TASKS: Mapping[str, NanoTask] = MappingProxyType(
    {
        "arithmetic": NanoTask(0.20, 0.16, arithmetic.draw),
        "products": NanoTask(0.05, 0.03, products.draw),
        "comparisons": NanoTask(0.03, 0.03, comparisons.draw),
        "chains": NanoTask(0.04, 0.03, chains.draw),
        "word problems": NanoTask(0.15, 0.11, word_problems.draw),
        "functions": NanoTask(0.15, 0.22, functions.draw),
        "python": NanoTask(0.08, 0.05, python_tool.draw),
        "search": NanoTask(0.08, 0.20, search.draw),
        "records": NanoTask(0.10, 0.10, records.draw),
        "instruction hierarchy": NanoTask(0.05, 0.03, instruction_hierarchy.draw),
        "small talk": NanoTask(0.04, 0.02, small_talk.draw),
        "stories": NanoTask(0.03, 0.02, stories.draw),
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
    "instruction hierarchy",
    "stories",
)
"""The tasks with a held-out kind."""


def draw(random: np.random.Generator, settings: TaskSettings, task: str) -> Conversation:
    """A conversation of one task, drawn again where a schema leaves too few values."""
    while True:
        try:
            return TASKS[task].draw(random, settings)
        except Undrawable:
            continue
