"""Renders tool parameters as TypeScript, as gpt-oss was trained to read them.

Takes normalised schemas.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from ossia.harmony.schema_rules import Schema, literals

_BREAKS = {0x85: "\\u0085", 0x2028: "\\u2028", 0x2029: "\\u2029"}
"""Line breaks that JSON does not escape."""


def parameters_text(schema: Schema) -> str | None:
    """Spell a tool's parameters, made plain by `schema_rules.normalise`; None if it takes none."""
    if not schema.get("properties") and "oneOf" not in schema:
        return None
    return _type_text(schema, "")


def comment_lines(text: object, indent: str = "") -> str:
    """Every line of a text as a comment of its own, so that none can end the section."""
    if not isinstance(text, str):
        return ""
    return "".join(f"{indent}// {line}\n" for line in text.splitlines())


def json_text(value: object) -> str:
    """Compact JSON on one line, numbers written as the trained texts write them."""
    if isinstance(value, float):
        return _float_text(value)
    if isinstance(value, list):
        return "[" + ",".join(map(json_text, value)) + "]"
    if isinstance(value, dict):
        inside = (f"{_quoted(str(key))}:{json_text(part)}" for key, part in value.items())
        return "{" + ",".join(inside) + "}"
    return _quoted(value) if isinstance(value, str) else json.dumps(value)


def _float_text(value: float) -> str:
    """1e-05 becomes 0.00001, 1e-07 becomes 1e-7."""
    digits, _, exponent = repr(value).partition("e")
    if not exponent:
        return digits
    if int(exponent) == -5:
        sign = "-" if value < 0 else ""
        return f"{sign}0.0000{digits.lstrip('-').replace('.', '')}"
    return f"{digits}e{int(exponent):+d}"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).translate(_BREAKS)


def _default_text(schema: Mapping[str, Any], *, always_quoted: bool = False) -> str:
    """`default: V`, or nothing; a string beside an enum stands bare."""
    if "default" not in schema:
        return ""
    value = schema["default"]
    if isinstance(value, str) and literals(schema) and not always_quoted:
        return f"default: {_quoted(value)[1:-1]}"
    return f"default: {json_text(value)}"


def _type_text(schema: Schema, indent: str) -> str:
    """The type itself, without `nullable`."""
    if isinstance(variants := schema.get("oneOf"), list):
        return "".join(_variant_line(variant, indent) for variant in variants)
    if values := literals(schema):
        return " | ".join(map(json_text, values))
    name = schema.get("type")
    if isinstance(name, list):
        return " | ".join("number" if part == "integer" else part for part in name)
    if name == "object":
        return _object_text(schema, indent)
    if name == "array":
        return _array_text(schema, indent)
    simple = {"string": "string", "number": "number", "integer": "number", "boolean": "boolean"}
    return simple.get(name, "any") if isinstance(name, str) else "any"


def _nullable_text(schema: Schema, indent: str) -> str:
    text = _type_text(schema, indent)
    return f"{text} | null" if schema.get("nullable") is True and "null" not in text else text


def _array_text(schema: Schema, indent: str) -> str:
    items = schema.get("items")
    if items is None:
        return "Array<any>"
    text = _nullable_text(items, indent)
    is_union = (
        "oneOf" in items
        or len(literals(items)) > 1
        or isinstance(items.get("type"), list)
        or text.endswith(" | null")
    )
    return f"({text})[]" if is_union else f"{text}[]"


def _variant_line(variant: Schema, indent: str) -> str:
    """One alternative, on a line of its own, with its comments behind it."""
    comments = (_one_line(variant.get("description")), _default_text(variant, always_quoted=True))
    return f"\n{indent} | {_nullable_text(variant, indent + '   ')}{_behind(*comments)}"


def _behind(*comments: str) -> str:
    written = " ".join(filter(None, comments))
    return f" // {written}" if written else ""


def _one_line(text: object) -> str:
    """A text that follows code on its line must not start another."""
    return " ".join(text.splitlines()) if isinstance(text, str) else ""


def _object_text(schema: Schema, indent: str) -> str:
    above = comment_lines(schema.get("description"), indent)
    required = schema.get("required")
    listed = {key for key in required if isinstance(key, str)} if isinstance(required, list) else ()
    properties = schema.get("properties")
    inside = (
        part
        for key, value in (properties.items() if isinstance(properties, dict) else ())
        for part in _property_parts(_key_text(key, required=key in listed), value, indent)
    )
    return f"{above}{{\n{''.join(inside)}{indent}}}"


def _key_text(key: str, *, required: bool) -> str:
    spelt = key if key.replace("$", "_").isidentifier() else _quoted(key)
    return spelt if required else f"{spelt}?"


def _property_parts(key: str, schema: Schema, indent: str) -> Iterator[str]:
    """The lines of one property: comments, then the key with its type."""
    if title := comment_lines(schema.get("title"), indent):
        yield f"{title}{indent}//\n"
    is_choice = isinstance(schema.get("oneOf"), list)
    if not is_choice:
        yield comment_lines(schema.get("description"), indent)
    examples = schema.get("examples")
    if isinstance(examples, list) and examples:
        yield f"{indent}// Examples:\n"
        shown = (example for example in examples if isinstance(example, str))
        yield from (f"{indent}// - {_quoted(example)}\n" for example in shown)
    if is_choice:
        yield from _choice_parts(key, schema, indent)
        return
    text = _nullable_text(schema, indent + "    ")
    yield f"{indent}{key}: {text},{_behind(_default_text(schema))}\n"


def _choice_parts(key: str, schema: Schema, indent: str) -> Iterator[str]:
    """A property that is one of several: the variants below the key, a line each."""
    variants = schema["oneOf"]
    description = schema.get("description")
    first = variants[0].get("description") if variants else None
    above = "" if description == first else comment_lines(description, indent)
    yield above
    if default := _default_text(schema):
        yield f"{indent}// {default}\n"
    yield f"{indent}{key}:\n"
    for nth, variant in enumerate(variants):
        own = variant.get("description")
        is_written = own == description or (nth == 0 and above != "")
        comments = ("" if is_written else _one_line(own), _default_text(variant))
        text = _nullable_text(variant, indent + "   ")
        yield f"{indent} | {text}{_behind(*comments)}\n"
    yield f"{indent},\n"
