"""Checks JSON schemas of requests: supported keywords and limits of size.

Reads what a client sent and gives back a schema of honoured keywords only, or refuses it by the
place at fault. Knows nothing of tokens, nor of the engine that will hold an answer to the schema.

* Honoured: type, enum, const, anyOf, allOf, oneOf of cases that exclude each other, $ref within the
  schema, $defs, definitions; properties, required, additionalProperties, patternProperties,
  minProperties (as far as keys are sure to differ), maxProperties; items, prefixItems, minItems,
  maxItems; minLength, maxLength, pattern, format; minimum, maximum, exclusiveMinimum,
  exclusiveMaximum, multipleOf.
* Without effect: title, description, default, examples, $schema, $id at the root, $comment,
  $anchor, deprecated, readOnly, writeOnly, contentMediaType, contentEncoding, contentSchema,
  discriminator, nullable (null is not written), strict, uniqueItems false, and names with x-.
* Refused: all else, such as not, if, uniqueItems, contains, propertyNames, dependentRequired.

Properties are written in the order of the schema, then others that it allows; integers without
bounds of their own up to 10^18.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ossia.grammar import keywords as values
from ossia.grammar.keywords import REF, Part, Steps
from ossia.grammar.patterns import respelt
from ossia.grammar.refusal import place, refusal
from ossia.grammar.satisfiability import first_endless, first_overlap
from ossia.strict_json import is_deeper

MAX_BYTES = 64 << 10
MAX_DEPTH = 16
"""Schemas inside schemas."""
MAX_PARTS = 10_000
MAX_REFERRED = 200
"""Places that $ref may point at, in one schema."""
MAX_PROPERTIES = 1000

_MAX_RAW_DEPTH = 4 * MAX_DEPTH - 1


_WHOLE_FAULTS: tuple[tuple[Callable[[Mapping[str, Part]], Steps | None], str], ...] = (
    (first_endless, "this part contains itself without end; give it a way out"),
    (
        first_overlap,
        "these cases of oneOf cannot be told apart; use anyOf, or give each its own const",
    ),
)


@dataclass(frozen=True, slots=True)
class CheckedSchema:
    """A schema of supported keywords only; `#/$defs/0` is the whole."""

    text: str
    """The schema as JSON, its keys in their original order."""
    path: str
    """Path of the schema in the request."""
    origins: tuple[str, ...]
    """Path of each of its definitions in the request."""

    @property
    def digest(self) -> str:
        """SHA-256 of the text: schemas with one digest mean the same."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def where(self, steps: Sequence[str | int]) -> str:
        """The request's path to a part, given the steps from among the definitions."""
        return place(self.origins[int(steps[0])], steps[1:]) if steps else self.path


def checked(schema: object, *, path: str, only_objects: bool = False) -> CheckedSchema:
    """Reduce a client's schema to the supported keywords.

    Args:
        schema: as parsed from JSON.
        path: where it stands in the request, such as text.format.schema.
        only_objects: refuse no schema for it, but take only the objects it allows: a call's
            arguments.

    Raises:
        RequestError: too large, too deep, or something cannot be honoured; it names the place.
    """
    if not isinstance(schema, dict):
        raise refusal(f"the schema is {_shown(schema)}; expected a JSON object", path)
    _check_size(schema, path)
    if only_objects and "type" not in schema:
        schema = {**schema, "type": "object"}
    reading = _Reading(schema, path)
    defs = reading.read()
    for find, fault in _WHOLE_FAULTS:
        if (steps := find(defs)) is not None:
            raise refusal(fault, place(reading.origins[int(steps[0])], steps[1:]))
    text = json.dumps({"$ref": f"{REF}0", "$defs": defs}, separators=(",", ":"))
    return CheckedSchema(text, path, tuple(reading.origins))


def _shown(value: object) -> str:
    return f"{value!r:.60}"


def _check_size(schema: Mapping[str, Any], path: str) -> None:
    if is_deeper(schema, _MAX_RAW_DEPTH):
        raise refusal(f"the schema nests deeper than {MAX_DEPTH} levels; flatten it", path)
    try:
        size = len(json.dumps(schema, allow_nan=False, ensure_ascii=False).encode())
    except UnicodeEncodeError:
        raise refusal("the schema has a lone surrogate, which no UTF-8 can carry", path) from None
    except (TypeError, ValueError):
        raise refusal("the schema is not JSON; expected plain, finite values", path) from None
    if size > MAX_BYTES:
        raise refusal(f"the schema has {size} bytes, more than {MAX_BYTES}; simplify it", path)


class _Reading:
    """One walk over one schema."""

    def __init__(self, root: dict[str, Any], path: str) -> None:
        self._root = root
        self._path = path
        self._num_parts = 0
        self._number_of: dict[str, int] = {"#": 0}
        self._pending: list[tuple[object, str]] = [(root, path)]
        self.origins: list[str] = []
        self._readers: Mapping[str, Callable[[Any, str, int], Any]] = {
            "properties": self._properties,
            "patternProperties": self._patterned,
            "additionalProperties": self._inner,
            "items": self._inner,
            "prefixItems": self._parts,
            "anyOf": self._parts,
            "allOf": self._parts,
            "oneOf": self._parts,
            "$ref": self._ref,
            "pattern": lambda value, where, _: respelt(values.text(value, where), where),
            **{name: _without_depth(reader) for name, reader in values.READERS.items()},
        }

    def read(self) -> dict[str, Part]:
        """All definitions by their numbers; 0 is the whole."""
        defs: dict[str, Part] = {}
        for number, (schema, where) in enumerate(self._pending):  # grows while it is read
            self.origins.append(where)
            defs[str(number)] = self._part(schema, where, 0)
        return defs

    def _part(self, schema: object, where: str, depth: int) -> Part:
        self._num_parts += 1
        if self._num_parts > MAX_PARTS:
            raise refusal(f"the schema has more than {MAX_PARTS} parts; simplify it", self._path)
        if depth > MAX_DEPTH:
            raise refusal(f"the schema nests deeper than {MAX_DEPTH} levels; flatten it", where)
        if isinstance(schema, bool):
            return schema
        if not isinstance(schema, dict):
            raise refusal(f"found {_shown(schema)}; expected a schema", where)
        part: dict[str, Any] = {}
        for keyword, value in schema.items():
            self._keyword(part, keyword, value, place(where, [keyword]), depth)
        values.settle_formats(part, where)
        values.settle_whole_numbers(part)
        values.settle_zero_bounds(part)
        _settle_counts(part, where)
        return part

    def _keyword(
        self, part: dict[str, Any], keyword: str, value: object, where: str, depth: int
    ) -> None:
        if keyword in self._readers:
            part[keyword] = self._readers[keyword](value, where, depth)
        elif not values.has_no_effect(
            keyword, value, at_root=where == place(self._path, [keyword])
        ):
            raise refusal(
                f"the keyword {keyword!r:.60} is not supported in a schema that is enforced; "
                "leave it out and say it in a description",
                where,
            )

    def _inner(self, schema: object, where: str, depth: int) -> Part:
        return self._part(schema, where, depth + 1)

    def _parts(self, schemas: object, where: str, depth: int) -> list[Part]:
        if not isinstance(schemas, list) or not schemas:
            raise refusal(f"found {_shown(schemas)}; expected a list of schemas", where)
        return [self._inner(schema, place(where, [at]), depth) for at, schema in enumerate(schemas)]

    def _properties(self, named: object, where: str, depth: int) -> dict[str, Part]:
        if not isinstance(named, dict):
            raise refusal(f"found {_shown(named)}; expected schemas by name", where)
        if len(named) > MAX_PROPERTIES:
            raise refusal(f"{len(named)} properties; at most {MAX_PROPERTIES} are taken", where)
        return {
            values.writable(name, where): self._inner(schema, place(where, [name]), depth)
            for name, schema in named.items()
        }

    def _patterned(self, named: object, where: str, depth: int) -> dict[str, Part]:
        found = self._properties(named, where, depth)
        return {respelt(name, place(where, [name])): part for name, part in found.items()}

    def _ref(self, ref: object, where: str, depth: int) -> str:
        """Give what is referred to a number, and read it later."""
        ref = values.text(ref, where)
        if not (ref == "#" or ref.startswith("#/")):
            raise refusal(f"refers to {_shown(ref)}; only places in the schema can be named", where)
        if ref not in self._number_of:
            if len(self._number_of) >= MAX_REFERRED:
                raise refusal(f"more than {MAX_REFERRED} places are referred to; simplify", where)
            self._number_of[ref] = len(self._pending)
            self._pending.append(self._found(ref, where))
        return f"{REF}{self._number_of[ref]}"

    def _found(self, ref: str, where: str) -> tuple[object, str]:
        found: object = self._root
        steps: list[str | int] = []
        for step in ref.removeprefix("#").split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            if isinstance(found, dict) and name in found:
                steps.append(name)
                found = found[name]
            elif isinstance(found, list) and name.isdecimal() and int(name[:9]) < len(found):
                steps.append(int(name))
                found = found[int(name)]
            else:
                raise refusal(f"refers to {_shown(ref)}, which is not in the schema", where)
        return found, place(self._path, steps)


def _without_depth(reader: Callable[[Any, str], Any]) -> Callable[[Any, str, int], Any]:
    return lambda value, where, _: reader(value, where)


def _settle_counts(part: dict[str, Any], where: str) -> None:
    """Keep minProperties only where the same key written twice cannot cheat it."""
    least = part.pop("minProperties", 0)
    if least <= len(part.get("required", ())):
        return
    if least > 1 or part.get("properties"):
        raise refusal(
            "more properties are asked for than are required by name; list them in required",
            place(where, ["minProperties"]),
        )
    part["minProperties"] = least
