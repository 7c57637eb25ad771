"""JSON under a response format: a record, its schema with some of the fields, a text.

Values are copied, or numbers written plainly; what is missing is null. Held out: one type of
record.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ossia.harmony.messages import Conversation, Message, ResponseFormat
from ossia.harmony.schema_text import json_text
from ossia.tasks.nano.messages import converse, final_json, thought, user
from ossia.tasks.nano.words import COLOURS, NAMES, THINGS, code, digits, invented, load
from ossia.tasks.task import TaskSettings, draw_of_split, pick, pick_some, split_of, wordings

NULL_SHARE, ANOTHER_SHARE, STRICT_SHARE = 0.12, 0.12, 0.5
INVENTED_SHARE = 0.15
"""Share of fields with invented names, which can only be copied."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field: its type, its values, and phrases that state one."""

    name: str
    kind: str
    draw: Callable[[np.random.Generator], Any]
    phrases: tuple[str, ...]


def _name(random: np.random.Generator) -> str:
    return pick(random, NAMES) if random.random() < 0.5 else invented(random)


def _small(random: np.random.Generator) -> int:
    return digits(random, int(random.integers(1, 3)))


def _large(random: np.random.Generator) -> int:
    return digits(random, int(random.integers(2, 5)))


def _tenths(random: np.random.Generator) -> float:
    return digits(random, int(random.integers(1, 3))) + int(random.integers(1, 10)) / 10


def _yes(random: np.random.Generator) -> bool:
    return bool(random.random() < 0.5)


def _day(random: np.random.Generator) -> str:
    return pick(
        random, ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
    )


def _colour(random: np.random.Generator) -> str:
    return pick(random, COLOURS)


def _thing(random: np.random.Generator) -> str:
    return pick(random, THINGS)


def _list(random: np.random.Generator) -> list[str]:
    return list(pick_some(random, (*THINGS, *COLOURS), int(random.integers(1, 4))))


NAME = Field("name", "string", _name, ("the name is {v}", "called {v}", "name {v}", "named {v}"))
CITY = Field("city", "string", invented, ("in {v}", "the city is {v}", "from {v}", "city {v}"))
AGE = Field("age", "integer", _small, ("{v} years old", "age {v}", "the age is {v}", "aged {v}"))
PRICE = Field(
    "price",
    "number",
    _tenths,
    ("for {v} dollars", "price {v}", "it costs {v} dollars", "the price is {v}"),
)
COUNT = Field(
    "count", "integer", _small, ("{v} pieces", "count {v}", "there are {v}", "{v} of them")
)
DAY = Field("day", "string", _day, ("on {v}", "the day is {v}", "day {v}"))
CODE = Field("id", "string", code, ("id {v}", "with the id {v}", "number {v}", "the id is {v}"))
COLOUR = Field(
    "color", "string", _colour, ("in {v} color", "color {v}", "the color is {v}", "it is {v}")
)
YEAR = Field("year", "integer", _large, ("in the year {v}", "year {v}", "from the year {v}"))
PAID = Field("paid", "boolean", _yes, ("paid: {v}", "is it paid: {v}", "paid {v}"))
OPEN = Field("open", "boolean", _yes, ("open: {v}", "is it open: {v}", "open {v}"))
JOB = Field(
    "job",
    "string",
    lambda random: pick(random, ("baker", "doctor", "painter", "sailor", "teacher")),
    ("works as {v}", "job {v}", "the job is {v}"),
)
AUTHOR = Field("author", "string", _name, ("by {v}", "written by {v}", "the author is {v}"))
TITLE = Field(
    "title",
    "string",
    lambda random: f"{pick(random, COLOURS).capitalize()} {invented(random)}",
    ("the title is {v}", "title {v}", "with the title {v}"),
)
PAGES = Field("pages", "integer", _large, ("{v} pages", "with {v} pages", "pages {v}"))
SPEED = Field("speed", "number", _tenths, ("{v} km an hour", "speed {v}", "the speed is {v}"))
WEIGHT = Field("weight", "number", _tenths, ("{v} kg", "weight {v}", "it weighs {v} kg"))
ITEM = Field("item", "string", _thing, ("the item is {v}", "item {v}", "of {v}"))
TAGS = Field("tags", "array", _list, ("tags {v}", "with the tags {v}", "the tags are {v}"))
PHONE = Field(
    "phone",
    "string",
    lambda random: str(digits(random, 6)),
    ("phone {v}", "the phone is {v}", "call {v}"),
)

RECORDS = {
    "person": (NAME, AGE, CITY, JOB, PHONE),
    "order": (ITEM, COUNT, PRICE, CODE, PAID, DAY),
    "book": (TITLE, AUTHOR, YEAR, PAGES, PRICE),
    "event": (TITLE, DAY, CITY, COUNT, OPEN),
    "car": (NAME, COLOUR, YEAR, SPEED, PRICE),
    "shop": (NAME, CITY, OPEN, PHONE, TAGS),
    "parcel": (CODE, WEIGHT, CITY, PAID, DAY),
    "product": (NAME, PRICE, COLOUR, WEIGHT, TAGS),
    "flight": (CODE, CITY, DAY, PRICE, COUNT),
    "note": (TITLE, DAY, TAGS, AUTHOR),
}
HELD_OUT = {"boat": (NAME, COLOUR, SPEED, CITY, YEAR, WEIGHT)}
_DATA = load("records")
WORDINGS: tuple[str, ...] = _DATA["wordings"]


@dataclass(frozen=True, slots=True)
class Record:
    """The fields of the schema and the values of the text; a value may be missing."""

    kind: str
    fields: tuple[Field, ...]
    values: dict[str, Any]

    @property
    def answer(self) -> dict[str, Any]:
        """Every field of the schema, in its order."""
        return {each.name: self.values.get(each.name) for each in self.fields}


def draw(random: np.random.Generator, settings: TaskSettings) -> Conversation:
    """A text and the record that is in it; sometimes a second text after it."""
    types = HELD_OUT if settings.held_out else RECORDS
    kind = pick(random, tuple(types))
    fields = pick_some(random, types[kind], int(random.integers(2, min(5, len(types[kind])) + 1)))
    fields = tuple(_rename(random, each) for each in fields)
    nullable = tuple(each.name for each in fields if random.random() < NULL_SHARE)
    messages = _turn(random, settings, kind, fields, nullable)
    if random.random() < ANOTHER_SHARE:
        messages += _turn(random, settings, kind, fields, nullable)
    shape = ResponseFormat(name=kind, schema=_schema(random, fields, nullable))
    return converse(messages, settings, response_formats=(shape,))


def _rename(random: np.random.Generator, field: Field) -> Field:
    """Rename the field sometimes, to an invented name."""
    if random.random() >= INVENTED_SHARE:
        return field
    name = invented(random).lower()
    return replace(field, name=name, phrases=(f"{name} {{v}}", f"the {name} is {{v}}"))


def _turn(
    random: np.random.Generator,
    settings: TaskSettings,
    kind: str,
    fields: tuple[Field, ...],
    nullable: tuple[str, ...],
) -> tuple[Message, ...]:
    def draw_record(random: np.random.Generator) -> Record:
        values = {
            each.name: each.draw(random)
            for each in fields
            if each.name not in nullable or random.random() < 0.5
        }
        return Record(kind, fields, values)

    record = draw_of_split(
        random, settings.split, draw_record, lambda one: split_of(f"{kind} {json_text(one.answer)}")
    )
    question = pick(random, wordings(WORDINGS, settings)).format(
        text=_text(random, record), kind=kind
    )
    notes = ", ".join(f"{key} {_spell(value)}" for key, value in record.answer.items())
    missing = [key for key, value in record.answer.items() if value is None]
    check = f"null: {', '.join(missing)}" if missing else "nothing is missing"
    reasoning = settings.think(notes, f"fields: {', '.join(each.name for each in fields)}; {check}")
    return (user(question), *thought(reasoning), final_json(record.answer))


def _text(random: np.random.Generator, record: Record) -> str:
    """The values as a text, in any order."""
    fields = [each for each in record.fields if each.name in record.values]
    random.shuffle(fields)
    parts = [
        pick(random, each.phrases).format(v=_spell(record.values[each.name])) for each in fields
    ]
    start = pick(
        random, (f"This {record.kind}: ", f"The {record.kind}: ", f"One {record.kind}, ", "")
    )
    text = start + ", ".join(parts) if parts else f"One {record.kind}"
    return text[0].upper() + text[1:] + "."


def _spell(value: Any) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case list():
            return " and ".join(value)
    return str(value)


def _schema(
    random: np.random.Generator, fields: tuple[Field, ...], nullable: tuple[str, ...]
) -> dict[str, Any]:
    properties = {}
    for each in fields:
        shape: dict[str, Any] = {
            "type": [each.kind, "null"] if each.name in nullable else each.kind
        }
        if each.kind == "array":
            shape["items"] = {"type": "string"}
        properties[each.name] = shape
    schema = {
        "type": "object",
        "properties": properties,
        "required": [each.name for each in fields],
    }
    return schema | {"additionalProperties": False} if random.random() < STRICT_SHARE else schema
