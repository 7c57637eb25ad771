"""Very short stories: somebody wants something, something is in the way, somebody helps.

Kept out of training: one of the wishes.
"""

from dataclasses import dataclass

import numpy as np

from ossia.harmony.messages import Conversation
from ossia.tasks.nano.messages import converse, exchange
from ossia.tasks.nano.words import NAMES
from ossia.tasks.task import TaskSettings, draw_of_split, pick, split_of, vary_case, wordings

HEROES = (
    "fox", "bear", "cat", "dog", "mouse", "bird", "boy", "girl", "rabbit", "horse", "duck", "frog",
    "king", "farmer", "robot", "dragon", "snail", "sheep",
)  # fmt: skip
HELPERS = (
    "owl",
    "old man",
    "friend",
    "sister",
    "bee",
    "goat",
    "neighbor",
    "teacher",
    "turtle",
    "wind",
)
PLACES = ("forest", "town", "garden", "valley", "house by the sea", "field", "castle", "village")
WORDINGS = (
    "Tell me a story about a {hero}.",
    "A story about a {hero}, please.",
    "Write a short story about a {hero}.",
    "tell a story about a {hero}",
    "Can you tell me a story of a {hero}?",
    "I want a story with a {hero}.",
    "Make up a story about a {hero}.",
    "Give me a little story about a {hero}.",
    "story: {hero}",
    "Write about a {hero}.",
    "Do you have a story about a {hero}?",
    "Please write a tale of a {hero}.",
)


@dataclass(frozen=True, slots=True)
class Wish:
    """What is wanted, what is in the way, and how it comes about."""

    wanted: str
    trouble: tuple[str, ...]
    help: tuple[str, ...]
    ending: tuple[str, ...]


WISHES = (
    Wish(
        "wanted to cross the river",
        ("But the water was too fast.", "But the bridge was broken.", "But there was no boat."),
        ("showed the way to a small bridge", "brought a long rope", "built a boat of wood"),
        ("Soon {name} stood on the other side.", "{name} crossed it with dry feet."),
    ),
    Wish(
        "looked for a lost key",
        (
            "But it was too dark to see.",
            "But the grass was too high.",
            "But it had fallen in a well.",
        ),
        ("came with a lamp", "had seen it under a tree", "looked behind the stones"),
        ("The key was found, and the door was open again.", "{name} opened the door and danced."),
    ),
    Wish(
        "wanted to see the sea",
        ("But the way was long.", "But nobody knew the way.", "But a mountain stood between."),
        ("drew a map", "came along with bread and water", "knew a road around the hill"),
        ("In the evening {name} heard the waves.", "{name} saw the blue sea and was happy."),
    ),
    Wish(
        "was hungry and wanted a cake",
        ("But there were no eggs.", "But the oven was cold.", "But the flour was gone."),
        ("gave three eggs", "brought dry wood for the fire", "had a bag of flour"),
        ("They ate the cake together.", "The cake was warm and sweet."),
    ),
    Wish(
        "wanted to learn to sing",
        ("But every note was wrong.", "But the others laughed.", "But the voice was too small."),
        ("sang each song again and again", "said: try it once more", "taught one note a day"),
        ("At the feast {name} sang for all.", "Now {name} sings every morning."),
    ),
    Wish(
        "was cold and wanted a warm place",
        ("But the snow fell all day.", "But all doors were shut.", "But the fire was out."),
        ("opened the door", "shared a thick blanket", "made a fire"),
        ("{name} slept well that night.", "It was warm, and {name} smiled."),
    ),
    Wish(
        "wanted a friend to play with",
        ("But everybody was busy.", "But {name} was too shy to ask.", "But the road was empty."),
        ("came to play ball", "asked {name} to come along", "knew a good game"),
        ("From that day {name} was never alone.", "They played until the sun went down."),
    ),
    Wish(
        "wanted to grow a tall flower",
        ("But it did not rain.", "But the ground was hard.", "But birds ate the seeds."),
        ("carried water every day", "dug the ground", "watched over the seeds"),
        (
            "In summer the flower was taller than {name}.",
            "The flower was red, and all came to see it.",
        ),
    ),
)
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
