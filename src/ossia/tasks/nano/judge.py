"""Judges answers of nano: the same text, the same JSON, or a story about the right hero.

Knows texts and values; not who wrote them.
"""

import json
from collections.abc import Mapping
from typing import Any

STORY = "In a "
"""How every story of training begins, and no other answer."""
_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "string": str, "integer": int, "number": (int, float), "boolean": bool, "array": list,
    "object": dict, "null": type(None),
}  # fmt: skip


def is_right_answer(expected: str, answer: str, *, question: str) -> bool:
    """Whether an answer is the same text or the same JSON as the expected one.

    A story is right if it begins and ends as one and is about the hero of the question.
    """
    if expected.startswith(STORY):
        hero = expected.split(" lived a ")[1].split()[0]
        is_about = f" {hero}" in answer and hero in question.lower()
        return answer.startswith(STORY) and is_about and answer.endswith((".", "!"))
    return is_same(answer.strip(), expected)


def is_same(found: str, expected: str) -> bool:
    """Whether two texts are equal, as text or as JSON values."""
    if found == expected:
        return True
    if not expected.startswith("{"):
        return False
    return bool(parse(found) == parse(expected))


def fits(value: object, schema: Mapping[str, Any]) -> bool:
    """Whether a value is of a schema of objects, lists and plain types, as our records are."""
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    if not any(_is(value, kind) for kind in kinds):
        return False
    if isinstance(value, list):
        return all(fits(each, schema["items"]) for each in value)
    if isinstance(value, dict):
        properties = schema["properties"]
        known = set(value) <= set(properties) or "additionalProperties" not in schema
        has_all = set(schema["required"]) <= set(value)
        return (
            known
            and has_all
            and all(fits(value[key], shape) for key, shape in properties.items() if key in value)
        )
    return True


def _is(value: object, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, _TYPES[kind])


def parse(text: str) -> Any:
    """The value of a JSON text; None if it is not JSON."""
    try:
        return json.loads(text)
    except ValueError:
        return None
