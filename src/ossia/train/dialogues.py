"""Exchanges -> whole conversations, as the product would hold them.

Knows no tokens: the harmony room renders what is made here.
"""

from datetime import date, timedelta

import numpy as np

from ossia.harmony.messages import Conversation, Message
from ossia.train.tasks import TASKS
from ossia.train.tasks.task import Exchange, Setting, pick

LONG_SHARE = 0.15
"""Dialogues of two or three turns."""
MAX_TURNS = 3
INSTRUCTED_SHARE = 0.1
INSTRUCTIONS = (
    "Be brief.",
    "Be polite.",
    "Answer briefly.",
    "You are a helpful assistant.",
    "You help with numbers.",
    "Answer in English.",
    "Be concise and correct.",
    "You are a calculator.",
)
FIRST_DAY, NUM_DAYS = date(2024, 1, 1), 4383
"""Dates of training: twelve years."""


def draw_date(random: np.random.Generator) -> str:
    """A day that a conversation may begin on."""
    return (FIRST_DAY + timedelta(days=int(random.integers(NUM_DAYS)))).isoformat()


def draw_conversation(random: np.random.Generator, setting: Setting) -> Conversation:
    """A conversation whose last message is the answer to learn."""
    turns = int(random.integers(2, MAX_TURNS + 1)) if random.random() < LONG_SHARE else 1
    instructed = random.random() < INSTRUCTED_SHARE
    exchanges = [draw_exchange(random, setting) for _ in range(turns)]
    return converse(exchanges, setting, pick(random, INSTRUCTIONS) if instructed else None)


def draw_exchange(random: np.random.Generator, setting: Setting) -> Exchange:
    """One exchange out of any task, by the tasks' shares."""
    draws = [draw for _, draw in TASKS.values()]
    bounds = np.cumsum([share for share, _ in TASKS.values()])
    place = np.searchsorted(bounds, random.random() * bounds[-1], side="right")
    return draws[int(place)](random, setting)


def converse(
    exchanges: list[Exchange], setting: Setting, instructions: str | None = None
) -> Conversation:
    """Say the exchanges one after the other."""
    messages = []
    for each in exchanges:
        messages.append(Message(role="user", content=each.question))
        if each.reasoning is not None:
            messages.append(Message(role="assistant", channel="analysis", content=each.reasoning))
        messages.append(Message(role="assistant", channel="final", content=each.answer))
    return Conversation(
        messages=tuple(messages),
        effort=setting.effort,
        date=setting.date,
        instructions=instructions,
    )
