"""Very short stories: somebody wants something, something is in the way, somebody helps.

Held out: one of the wishes.
"""

from dataclasses import dataclass

import numpy as np

from ossia.harmony.messages import Conversation
from ossia.tasks.nano.messages import converse, exchange
from ossia.tasks.nano.words import NAMES, load
from ossia.tasks.task import TaskSettings, draw_of_split, pick, split_of, vary_case, wordings

_DATA = load("stories")
HEROES: tuple[str, ...] = _DATA["heroes"]
HELPERS: tuple[str, ...] = _DATA["helpers"]
PLACES: tuple[str, ...] = _DATA["places"]
WORDINGS: tuple[str, ...] = _DATA["wordings"]


@dataclass(frozen=True, slots=True)
class Wish:
    """What is wanted, what is in the way, and how it comes about."""

    wanted: str
    trouble: tuple[str, ...]
    help: tuple[str, ...]
    ending: tuple[str, ...]


WISHES = tuple(Wish(**each) for each in _DATA["wishes"])
HELD_OUT = 1
"""Wishes at the end of the list that are never trained."""


def draw(random: np.random.Generator, settings: TaskSettings) -> Conversation:
    """Somebody asks for a story."""

    def draw_parts(random: np.random.Generator) -> tuple[int, str, str, str]:
        trained = len(WISHES) - HELD_OUT
        at = int(
            random.integers(trained, len(WISHES)) if settings.held_out else random.integers(trained)
        )
        return at, pick(random, HEROES), pick(random, NAMES), pick(random, HELPERS)

    at, hero, name, helper = draw_of_split(
        random, settings.split, draw_parts, lambda parts: split_of(str(parts))
    )
    wish, place = WISHES[at], pick(random, PLACES)
    story = " ".join(
        (
            f"In a {place} lived a {hero} named {name}.",
            f"One day {name} {wish.wanted}.",
            pick(random, wish.trouble),
            f"Then {'an' if helper[0] in 'aeiou' else 'a'} {helper} {pick(random, wish.help)}.",
            pick(random, wish.ending),
        )
    ).format(name=name)
    question = pick(random, wordings(WORDINGS, settings)).format(hero=hero)
    reasoning = settings.think(
        f"A {hero} named {name}.",
        f"{name} {wish.wanted}. {helper.capitalize()} helps. It ends well.",
    )
    text = question if settings.reworded else vary_case(random, question)
    return converse(exchange(text, reasoning, story), settings)
