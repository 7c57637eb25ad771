"""Random JSON schemas, as clients send them and as none should: one seed, one schema."""

import random
from collections.abc import Callable
from typing import Any

Schema = dict[str, Any]

NAMES = (
    "a",
    "b",
    "name",
    "unit price",
    "größe",
    'q"uote',
    "back\\slash",
    "a/b",
    "~",
    "$ref",
    "type",
)
WORDS = ("", "x", "red", "tab\there", 'say "no"', "naïve 漢字", "𝄞", "a\\b", "null", "line\nend")
PATTERNS = (
    r"^[a-z]{1,5}$", r"^\d{3}-\d{2}$", "ab+c", r"^(foo|bar)?[0-9]{0,3}$", r"^[^a-m]{2,4}$",
    r"^\w+@\w+\.(com|org)$", "^.{1,6}$", r"^[A-F0-9]{8}$", "^$", r"^(?:a(?:b|c){2}){1,2}$",
    r"[\-\]\\]", r"^é+$",
)  # fmt: skip
FORMATS = ("date", "time", "date-time", "email", "ipv4", "ipv6", "uuid", "hostname")
DEEPEST = 3


class SchemaMaker:
    """Makes one schema after another."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)

    def make(self) -> Schema:
        """A schema, perhaps with definitions that refer to each other."""
        schema = self._any(0)
        if self._rng.random() < 0.25:
            end = {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}
            node = self._object(1)
            node["properties"]["next"] = end
            node.pop("minProperties", None)
            schema = {
                "type": "object",
                "properties": {"value": schema, "node": {"$ref": "#/$defs/node"}},
                "required": ["value", "node"],
                "additionalProperties": False,
                "$defs": {"node": node},
            }
        return schema

    def _chance(self, share: float) -> bool:
        return self._rng.random() < share

    def _any(self, depth: int) -> Schema:
        simple: list[Callable[[int], Schema]] = [
            self._string, self._number, self._integer, self._listed, self._plain,
        ]  # fmt: skip
        wide = [self._object, self._object, self._array, self._any_of, self._all_of, self._one_of]
        if self._chance(0.02):
            return self._unheld(depth)
        makers = simple if depth >= DEEPEST else wide + simple[:3] if depth else wide
        schema = self._rng.choice(makers)(depth)
        if self._chance(0.2):
            schema["description"] = self._rng.choice(WORDS)
        return schema

    def _plain(self, depth: int) -> Schema:
        return {"type": self._rng.choice(["boolean", "null", ["boolean", "null"]])}

    def _string(self, depth: int) -> Schema:
        rng = self._rng
        schema: Schema = {"type": "string"}
        kind = rng.randrange(5)
        if kind == 0:
            return {**schema, "pattern": rng.choice(PATTERNS)}
        if kind == 1:
            return {**schema, "format": rng.choice(FORMATS)}
        if kind == 2:
            return {**schema, "pattern": rng.choice(PATTERNS), "maxLength": rng.randint(1, 20)}
        least = rng.randint(0, 4)
        return {**schema, "minLength": least, "maxLength": least + rng.randint(0, 12)}

    def _number(self, depth: int) -> Schema:
        rng = self._rng
        schema: Schema = {"type": "number"}
        if self._chance(0.3):
            schema["multipleOf"] = rng.choice((0.5, 0.25, 2, 10))
        return self._bounded(schema, lambda: round(rng.uniform(-1000, 1000), rng.randint(0, 4)))

    def _integer(self, depth: int) -> Schema:
        rng = self._rng
        schema: Schema = {"type": rng.choice(["integer", ["integer", "null"]])}
        if self._chance(0.3):
            schema["multipleOf"] = rng.choice((2, 3, 7, 100))
        return self._bounded(schema, lambda: rng.randint(-(10 ** rng.randint(1, 12)), 10**6))

    def _bounded(self, schema: Schema, number: Callable[[], float]) -> Schema:
        low, high = sorted((number(), number()))
        if self._chance(0.6):
            schema[self._rng.choice(("minimum", "exclusiveMinimum"))] = low
        if self._chance(0.6):
            schema[self._rng.choice(("maximum", "exclusiveMaximum"))] = high
        return schema

    def _listed(self, depth: int) -> Schema:
        values = [self._value(1) for _ in range(self._rng.randint(1, 5))]
        return {"const": values[0]} if len(values) == 1 else {"enum": values}

    def _value(self, depth: int) -> object:
        rng = self._rng
        if depth < DEEPEST and self._chance(0.3):
            inner = [self._value(depth + 1) for _ in range(rng.randint(0, 2))]
            return inner if self._chance(0.5) else dict(zip(NAMES, inner, strict=False))
        return rng.choice([rng.choice(WORDS), rng.randint(-99, 99), rng.random() * 8 // 0.5 / 2,
                           True, False, None])  # fmt: skip

    def _object(self, depth: int) -> Schema:
        rng = self._rng
        names = rng.sample(NAMES, rng.randint(0, 4))
        schema: Schema = {
            "type": "object",
            "properties": {name: self._any(depth + 1) for name in names},
            "required": [name for name in names if self._chance(0.7)],
        }
        if self._chance(0.1):
            schema["patternProperties"] = {"^x_[a-z]{1,3}$": self._any(DEEPEST)}
        if self._chance(0.8):
            schema["additionalProperties"] = rng.choice((False, False, False, self._any(DEEPEST)))
        if self._chance(0.1):
            schema[rng.choice(("minProperties", "maxProperties"))] = rng.randint(0, 4)
        return schema

    def _array(self, depth: int) -> Schema:
        rng = self._rng
        least = rng.randint(0, 2)
        schema: Schema = {"type": "array", "minItems": least, "maxItems": least + rng.randint(0, 3)}
        if self._chance(0.2):
            schema["prefixItems"] = [self._any(depth + 1) for _ in range(rng.randint(1, 3))]
        if self._chance(0.9):
            schema["items"] = self._any(depth + 1)
        return schema

    def _any_of(self, depth: int) -> Schema:
        return {"anyOf": [self._any(depth + 1) for _ in range(self._rng.randint(1, 3))]}

    def _one_of(self, depth: int) -> Schema:
        makers = self._rng.sample([self._string, self._object, self._array, self._number], 2)
        return {"oneOf": [make(depth + 1) for make in makers]}

    def _all_of(self, depth: int) -> Schema:
        first = self._object(depth + 1)
        if self._chance(0.5):
            return {"allOf": [first]}
        first.pop("additionalProperties", None)  # false would leave no room for the second
        second = {"properties": {"more": self._any(DEEPEST)}, "required": ["more"]}
        return {"allOf": [first, second]}

    def _unheld(self, depth: int) -> Schema:
        """What cannot be enforced, and must be refused."""
        return self._rng.choice((
            {"not": {"type": "string"}},
            {"type": "array", "uniqueItems": True},
            {"type": "string", "pattern": r"^(a)\1$"},
            {"type": "string", "pattern": "(?=a)b"},
            {"type": "object", "propertyNames": {"pattern": "^a"}},
            {"if": {"type": "string"}, "then": {"minLength": 1}},
            {"$ref": "https://example.org/schema"},
            {"type": "string", "maxLength": 2**31},
        ))  # fmt: skip
