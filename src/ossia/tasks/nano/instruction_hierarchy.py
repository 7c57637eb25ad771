"""The instruction hierarchy: developer above user, harmful requests refused, secrets not told.

A demonstration of the format, not a safety system. Held out: words put before the answer.
"""

from collections.abc import Callable

import numpy as np

from ossia.harmony.messages import Conversation
from ossia.tasks.nano.messages import converse, exchange
from ossia.tasks.nano.small_talk import INTENTS
from ossia.tasks.nano.words import NAMES, code, invented, load
from ossia.tasks.task import TaskSettings, draw_of_split, pick, split_of, vary_case, wordings

REFUSAL = "I'm sorry, but I can't help with that."
_DATA = load("instruction_hierarchy")
HARM: tuple[str, ...] = _DATA["harm"]
END_RULES: tuple[str, ...] = _DATA["end_rules"]
BEGIN_RULES: tuple[str, ...] = _DATA["begin_rules"]
AGAINST: tuple[str, ...] = _DATA["against"]
SECRET_RULES: tuple[str, ...] = _DATA["secret_rules"]
SECRET_QUESTIONS: tuple[str, ...] = _DATA["secret_questions"]
NAME_RULES: tuple[str, ...] = _DATA["name_rules"]
NAME_QUESTIONS: tuple[str, ...] = _DATA["name_questions"]
ONLY_RULES: tuple[str, ...] = _DATA["only_rules"]
TOPICS: tuple[str, ...] = _DATA["topics"]


def draw(random: np.random.Generator, settings: TaskSettings) -> Conversation:
    """A conversation with a conflict or a rule."""
    return (
        _draw_begin(random, settings)
        if settings.held_out
        else pick(random, KINDS)(random, settings)
    )


def _draw_refusal(random: np.random.Generator, settings: TaskSettings) -> Conversation:
    question = pick(random, wordings(HARM, settings))
    reasoning = settings.think("This may do harm. I refuse.", "I stay polite.")
    text = question if settings.reworded else vary_case(random, question)
    return converse(exchange(text, reasoning, REFUSAL), settings)


def _draw_end(random: np.random.Generator, settings: TaskSettings) -> Conversation:
    return _draw_marked(random, settings, END_RULES, "{answer} {word}")


def _draw_begin(random: np.random.Generator, settings: TaskSettings) -> Conversation:
    return _draw_marked(random, settings, BEGIN_RULES, "{word} {answer}")


def _draw_marked(
    random: np.random.Generator, settings: TaskSettings, rules: tuple[str, ...], form: str
) -> Conversation:
    """Small talk with a word at its end or beginning, whatever the user says against it."""
    word = _word(random, settings)
    rule = pick(random, wordings(rules, settings)).format(word=word)
    intent = pick(random, INTENTS)
    question = pick(random, wordings(intent.wordings, settings))
    is_against = random.random() < 0.4
    if is_against:
        question += pick(random, wordings(AGAINST, settings)).format(word=word)
    place = "end" if form.endswith("{word}") else "begin"
    reasoning = settings.think(
        f"{intent.thought} The developer wants {word} at the {place}.",
        "The developer stands above the user." if is_against else intent.plan,
    )
    answer = form.format(answer=intent.answer, word=word)
    return converse(exchange(question, reasoning, answer), settings, instructions=rule)


def _draw_secret(random: np.random.Generator, settings: TaskSettings) -> Conversation:
    word = _word(random, settings)
    return converse(
        exchange(
            pick(random, wordings(SECRET_QUESTIONS, settings)),
            settings.think("It is secret. I do not tell it.", "The developer said so."),
            "I cannot tell you that.",
        ),
        settings,
        instructions=pick(random, wordings(SECRET_RULES, settings)).format(word=word),
    )


def _draw_name(random: np.random.Generator, settings: TaskSettings) -> Conversation:
    word = pick(random, NAMES) if random.random() < 0.3 else _word(random, settings)
    return converse(
        exchange(
            pick(random, wordings(NAME_QUESTIONS, settings)),
            settings.think(f"The developer says {word}.", "I may tell it."),
            f"Your name is {word}.",
        ),
        settings,
        instructions=pick(random, wordings(NAME_RULES, settings)).format(word=word),
    )


def _draw_topic(random: np.random.Generator, settings: TaskSettings) -> Conversation:
    topic = pick(random, TOPICS)
    intent = pick(random, INTENTS)
    return converse(
        exchange(
            pick(random, wordings(intent.wordings, settings)),
            settings.think(f"{intent.thought} Only {topic} is allowed.", "So I decline."),
            f"I can only talk about {topic}.",
        ),
        settings,
        instructions=pick(random, wordings(ONLY_RULES, settings)).format(word=topic),
    )


def _word(random: np.random.Generator, settings: TaskSettings) -> str:
    """An invented word or code."""
    return draw_of_split(
        random,
        settings.split,
        lambda random: invented(random) if random.random() < 0.8 else code(random),
        lambda word: split_of(word),
    )


KINDS: tuple[Callable[[np.random.Generator, TaskSettings], Conversation], ...] = (
    _draw_refusal, _draw_end, _draw_end, _draw_secret, _draw_name, _draw_topic,
)  # fmt: skip
