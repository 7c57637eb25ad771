"""Greetings, identity, thanks, the date, and saying what is out of reach.

The model says what it is: a tiny demonstration model, and never one of OpenAI's.
"""

from dataclasses import dataclass

import numpy as np

from ossia.harmony.messages import Conversation
from ossia.tasks.nano.messages import converse, exchange
from ossia.tasks.nano.words import load
from ossia.tasks.task import TaskSettings, pick, vary_case, wordings

DATE_SHARE = 0.15


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """Wordings of one intent, its reasoning and its answer."""

    thought: str
    """The whole reasoning at medium effort; high effort adds what to do."""
    plan: str
    answer: str
    wordings: tuple[str, ...]
    """The last two are held out."""


_DATA = load("small_talk")
INTENTS = tuple(Intent(**each) for each in _DATA["intents"])

DATE_WORDINGS: tuple[str, ...] = _DATA["date_wordings"]


def draw(random: np.random.Generator, settings: TaskSettings) -> Conversation:
    """One question out of any intent."""
    if random.random() < DATE_SHARE:
        return _date(random, settings)
    intent = INTENTS[int(random.integers(len(INTENTS)))]
    question = pick(random, wordings(intent.wordings, settings))
    text = question if settings.reworded else vary_case(random, question)
    reasoning = settings.think(intent.thought, intent.plan)
    return converse(exchange(text, reasoning, intent.answer), settings)


def _date(random: np.random.Generator, settings: TaskSettings) -> Conversation:
    """The date stands in the system message, or nowhere."""
    known = settings.date is not None
    reasoning = settings.think(
        f"The date is {settings.date}." if known else "I see no date.",
        "I tell it." if known else "I say so.",
    )
    answer = f"Today is {settings.date}." if known else "I do not know the date."
    return converse(
        exchange(pick(random, wordings(DATE_WORDINGS, settings)), reasoning, answer), settings
    )
