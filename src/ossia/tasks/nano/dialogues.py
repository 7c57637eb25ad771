"""Composes conversations of several tasks, and splits them into turns to learn.

Adds earlier exchanges before a question and unneeded tools beside it; `harmony` renders the result.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta

import numpy as np

from ossia.harmony.messages import Conversation
from ossia.tasks.nano import LATE, TASKS, TOOL_TASKS, draw
from ossia.tasks.nano.words import load
from ossia.tasks.task import TaskSettings, pick

LONG_SHARE = 0.15
"""Dialogues that one or two exchanges of another task come before."""
MAX_EARLIER = 2
FOLLOWED_SHARE = 0.06
"""Dialogues with a tool that small talk follows."""
EARLIER_TASKS = ("arithmetic", "small talk", "comparisons", "small talk")
INSTRUCTED_SHARE = 0.1
UNNEEDED_SHARE = 0.12
"""Dialogues under a tool's system message that do not need the tool."""
UNNEEDING_TASKS = ("arithmetic", "small talk", "word problems", "comparisons")
_DATA = load("dialogues")
INSTRUCTIONS: tuple[str, ...] = _DATA["instructions"]
FIRST_DAY, NUM_DAYS = date(2024, 1, 1), 4383
"""Dates of training: twelve years."""


def draw_date(random: np.random.Generator) -> str:
    """Draw the date of a conversation."""
    return (FIRST_DAY + timedelta(days=int(random.integers(NUM_DAYS)))).isoformat()


def draw_task(random: np.random.Generator, batch: int) -> str:
    """Draw the name of a task by the shares of a batch."""
    is_late = batch >= LATE
    bounds = np.cumsum([each.late_share if is_late else each.share for each in TASKS.values()])
    place = np.searchsorted(bounds, random.random() * bounds[-1], side="right")
    return tuple(TASKS)[int(place)]


def draw_conversation(
    random: np.random.Generator, settings: TaskSettings, task: str
) -> Conversation:
    """Draw a conversation whose last message is an answer to learn."""
    conversation = draw(random, settings, task)
    if task in TOOL_TASKS and random.random() < UNNEEDED_SHARE:
        other = draw(random, settings, pick(random, UNNEEDING_TASKS))
        conversation = replace(conversation, messages=other.messages)
    if conversation.instructions is None and random.random() < INSTRUCTED_SHARE:
        conversation = replace(conversation, instructions=pick(random, INSTRUCTIONS))
    if task in TOOL_TASKS and random.random() < FOLLOWED_SHARE:
        after = draw(random, settings, "small talk").messages
        conversation = replace(conversation, messages=(*conversation.messages, *after))
    is_bound = task == "instruction hierarchy" or conversation.response_formats
    if not is_bound and random.random() < LONG_SHARE:
        conversation = with_earlier_talk(random, conversation, settings)
    return conversation


def with_earlier_talk(
    random: np.random.Generator, conversation: Conversation, settings: TaskSettings
) -> Conversation:
    """Prepend one or two exchanges of an easy task."""
    earlier = [
        draw(random, settings, pick(random, EARLIER_TASKS)).messages
        for _ in range(int(random.integers(1, MAX_EARLIER + 1)))
    ]
    return replace(conversation, messages=(*sum(earlier, ()), *conversation.messages))


def turns(conversation: Conversation) -> Iterator[Conversation]:
    """Split a conversation into the examples to learn: one up to each answer."""
    for end, message in enumerate(conversation.messages, start=1):
        if message.role == "assistant" and message.channel == "final":
            yield replace(conversation, messages=conversation.messages[:end])
