"""Normalises JSON schemas to the few forms that have a TypeScript spelling.

Decides what of a schema the model reads; `schema_text.py` spells it, `grammar` enforces it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ossia.errors import RequestError
from ossia.strict_json import is_deeper

MAX_DEPTH = 16
MAX_BYTES = 64 << 10
MAX_PARTS = 10_000
"""Limit after every $ref is resolved: a small schema can expand to millions of parts."""
MAX_PARTS_TOGETHER = 20_000
"""Limit for all tools of one conversation, which take a fifth of a second to read."""

_CHARS_A_PART = 100
_CHARS_A_LINE = 40
_MAX_RAW_DEPTH = 4 * MAX_DEPTH - 1
_READ = frozenset((
    "$ref", "allOf", "anyOf", "oneOf", "type", "properties", "required", "items", "enum", "const",
    "nullable", "title", "description", "examples", "default",
))  # fmt: skip
_WEIGHED = _READ - {"$ref", "allOf", "anyOf", "oneOf", "properties", "items", "nullable"}
_SIMPLE = frozenset(("string", "number", "integer", "boolean"))
_TYPES = _SIMPLE | {"object", "array", "null"}

Schema = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Unfolded:
    """A normalised schema, and its size."""

    schema: Schema
    num_parts: int
    """Schemas in it, every reference followed; 100 characters of text beside them count as one."""


class _Normaliser:
    """Normalises one schema: resolves references and counts parts."""

    def __init__(self, root: Schema) -> None:
        self._root = root
        self._targets: dict[str, Schema] = {}
        self.num_parts = 0
        self._num_chars = 0

    def plain(self, schema: object, *, depth: int, open_refs: tuple[str, ...]) -> Schema:
        """The schema with references, anyOf, allOf, const and odd enums gone."""
        self._count(1)
        if depth > MAX_DEPTH:
            raise RequestError(f"a tool schema nests deeper than {MAX_DEPTH} levels; flatten it")
        if isinstance(schema, bool):
            return {}
        if not isinstance(schema, dict):
            raise RequestError(f"a tool schema holds {schema!r:.60} where a schema is expected")
        schema = _read(schema)
        for _ in range(MAX_DEPTH):  # each round takes one wrapper away
            if isinstance(cases := schema.get("anyOf"), list):
                self._count(len(cases))
            if isinstance(ref := schema.get("$ref"), str):
                if ref in open_refs:
                    raise RequestError(f"a tool schema refers to itself through {ref}; unroll it")
                open_refs = (*open_refs, ref)
                schema = {**self._target(ref), **_beside(schema, "$ref")}
            elif (opened := _without_any_of(_without_all_of(schema))) is not schema:
                schema = _read(opened)
            else:
                self._weigh(schema)
                return self._with_plain_children(_typed(schema), depth=depth, open_refs=open_refs)
        raise RequestError(f"a tool schema wraps a type more than {MAX_DEPTH} times; flatten it")

    def _count(self, parts: int) -> None:
        self.num_parts += parts
        if self.num_parts > MAX_PARTS:
            raise RequestError(f"a tool schema unfolds to more than {MAX_PARTS} parts; simplify it")

    def _weigh(self, schema: Schema) -> None:
        """Count the text that a part brings along, wherever it is referred to."""
        for key, value in schema.items():
            if key in _WEIGHED:
                self._num_chars += _num_chars(value)
            elif key == "properties" and isinstance(value, dict):
                self._num_chars += sum(map(len, value))
        parts, self._num_chars = divmod(self._num_chars, _CHARS_A_PART)
        self._count(parts)

    def _target(self, ref: str) -> Schema:
        """Resolve a local reference."""
        if (known := self._targets.get(ref)) is not None:
            return known
        target: object = self._root
        if not ref.startswith("#"):
            raise RequestError(f"a tool schema refers to {ref}; only local references are followed")
        for step in ref[1:].split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            if isinstance(target, dict) and name in target:
                target = target[name]
            elif isinstance(target, list) and name.isdecimal() and int(name) < len(target):
                target = target[int(name)]
            else:
                raise RequestError(f"a tool schema refers to {ref}, which is not there")
        if not isinstance(target, dict):
            raise RequestError(f"a tool schema refers to {ref}, which is not a schema")
        self._targets[ref] = found = _read(target)
        return found

    def _with_plain_children(
        self, schema: Schema, *, depth: int, open_refs: tuple[str, ...]
    ) -> Schema:
        def child(part: object) -> Schema:
            return self.plain(part, depth=depth + 1, open_refs=open_refs)

        found = {key: schema[key] for key in schema if key not in ("oneOf", "properties", "items")}
        if (variants := schema.get("oneOf")) and isinstance(variants, list):
            found["oneOf"] = [child(variant) for variant in variants]
        if isinstance(properties := schema.get("properties"), dict):
            found["properties"] = {key: child(part) for key, part in properties.items()}
        if isinstance(items := schema.get("items"), dict):
            found["items"] = child(items)
        return found


def normalise(schema: object) -> Unfolded:
    """Check a tool's parameters and reduce them to the forms with a TypeScript spelling.

    Returns:
        The schema in terms of oneOf, type, properties, required, items, enum, nullable, title,
        description, examples and default; `literals` holds an enum of any other kind.

    Raises:
        RequestError: too large, too deep, a cycle, a remote reference, or no object's schema.
    """
    if not isinstance(schema, Mapping):
        raise RequestError(f"a tool's parameters are {schema!r:.60}; expected a JSON schema object")
    check_size(schema)
    root = dict(schema)
    walk = _Normaliser(root)
    plain = walk.plain(root, depth=0, open_refs=())
    if plain and "oneOf" not in plain and plain.get("type", "object") != "object":
        raise RequestError(
            f"a tool's parameters are of type {plain['type']!r:.40}; expected type object"
        )
    return Unfolded(plain, walk.num_parts)


def check_together(num_parts: int) -> None:
    """Refuse tools whose schemas together are too large."""
    if num_parts > MAX_PARTS_TOGETHER:
        raise RequestError(
            f"the schemas of the tools unfold to more than {MAX_PARTS_TOGETHER} parts together; "
            "simplify them or offer fewer tools"
        )


def check_size(schema: object) -> None:
    """Refuse a schema that is not JSON, too deep or too large; raises RequestError."""
    if is_deeper(schema, _MAX_RAW_DEPTH):
        raise RequestError(f"a tool schema nests deeper than {MAX_DEPTH} levels; flatten it")
    try:
        size = len(json.dumps(schema, allow_nan=False, ensure_ascii=False))
    except (TypeError, ValueError) as error:
        raise RequestError(f"a tool schema is not JSON: {error}") from None
    if size > MAX_BYTES:
        raise RequestError(f"a tool schema has {size} characters, more than {MAX_BYTES}")


def _read(schema: Schema) -> Schema:
    """Copy the supported keywords of a schema."""
    if len(schema) > len(_READ):
        return {key: schema[key] for key in _READ if key in schema}
    return {key: value for key, value in schema.items() if key in _READ}


def _num_chars(value: object) -> int:
    """About as many as the value takes where it is spelt; each line begins with its indent."""
    if isinstance(value, str):
        return len(value) + _CHARS_A_LINE * len(value.splitlines()[1:])
    return len(json.dumps(value, ensure_ascii=False)) if isinstance(value, dict | list) else 8


def _beside(schema: Schema, key: str) -> Schema:
    return {name: value for name, value in schema.items() if name != key}


def _without_all_of(schema: Schema) -> Schema:
    """An allOf of one schema is that schema; more than one has no spelling and is left out."""
    parts = schema.get("allOf")
    if isinstance(parts, list) and len(parts) == 1 and isinstance(parts[0], dict):
        return {**parts[0], **_beside(schema, "allOf")}
    return schema


def _without_any_of(schema: Schema) -> Schema:
    """AnyOf with null becomes nullable, of simple types a type list, else oneOf."""
    parts = schema.get("anyOf")
    if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
        return schema
    rest = _beside(schema, "anyOf")
    others = [part for part in parts if part != {"type": "null"}]
    has_null = len(others) < len(parts)
    if len(others) == 1:
        return {**others[0], **rest} | ({"nullable": True} if has_null else {})
    if others and all(part.keys() == {"type"} and _is_simple(part["type"]) for part in others):
        names = [part["type"] for part in others]
        return {**rest, "type": [*dict.fromkeys(names), *(["null"] if has_null else [])]}
    return {**rest, "oneOf": parts}


def _is_simple(name: object) -> bool:
    return isinstance(name, str) and name in _SIMPLE


def _typed(schema: Schema) -> Schema:
    """Const and enums of no strings become literals; a type list with parts is taken apart."""
    if (variants := schema.get("oneOf")) and isinstance(variants, list):
        return schema
    schema = dict(schema)
    if "const" in schema:
        schema["literals"] = [schema.pop("const")]
        return schema
    names = schema.get("type")
    if isinstance(values := schema.get("enum"), list) and values:
        if names != "string" or not all(isinstance(value, str) for value in values):
            schema["literals"] = values
        return schema
    if isinstance(names, list):
        return _taken_apart(schema, [_known(name) for name in names])
    if names == "null":
        return {**schema, "literals": [None]}
    if names is None:
        guess = "object" if "properties" in schema else "array" if "items" in schema else None
        return {**schema, "type": guess} if guess else schema
    return schema


def _known(name: object) -> str:
    """A type's name goes into the prompt bare, so it must be one of JSON's."""
    if isinstance(name, str) and name in _TYPES:
        return name
    raise RequestError(f"a tool schema has the type {name!r:.40}; expected one of {sorted(_TYPES)}")


def _taken_apart(schema: Schema, names: list[str]) -> Schema:
    """A type list that says more than names, as one nullable type or as oneOf."""
    details = {"object": "properties", "array": "items"}
    solid = [name for name in names if name != "null"]
    if not names:
        return _typed(_beside(schema, "type"))
    if len(names) == 1:
        return _typed({**schema, "type": names[0]})
    if not any(details.get(name) in schema for name in solid):
        return {**schema, "type": names}
    if len(solid) == 1:
        return {**schema, "type": solid[0], "nullable": True}
    outer = [key for key in ("title", "description", "default") if key in schema]
    inner = {key: value for key, value in schema.items() if key not in outer}
    found: Schema = {key: schema[key] for key in outer}
    return {**found, "oneOf": [{**inner, "type": name} for name in names]}


def literals(schema: Mapping[str, Any]) -> list[Any]:
    """The values a schema lists one by one: an enum's, a constant's, or none."""
    listed = schema.get("literals")
    if isinstance(listed, list):
        return listed
    values = schema.get("enum")
    return values if isinstance(values, list) and schema.get("type") == "string" else []
