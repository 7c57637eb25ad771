"""Keywords of a JSON schema: their values and bounds, and where schemas stand inside; one table.

Each reader takes a value and its path, and returns the checked value or refuses it.
"""

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from math import isfinite
from typing import Any

from ossia.grammar.refusal import place, refusal

Steps = tuple[str | int, ...]
Part = dict[str, Any] | bool

REF = "#/$defs/"


def target(part: Mapping[str, Any]) -> str | None:
    """The name of the definition a part refers to."""
    ref: str | None = part.get("$ref")
    return None if ref is None else ref.removeprefix(REF)


def children(part: Mapping[str, Any]) -> Iterator[tuple[Steps, Part]]:
    """The schemas directly inside one, with the steps that lead to them."""
    for keyword in ("properties", "patternProperties"):
        for name, child in part.get(keyword, {}).items():
            yield (keyword, name), child
    for keyword in ("prefixItems", "anyOf", "allOf", "oneOf"):
        for at, child in enumerate(part.get(keyword, ())):
            yield (keyword, at), child
    for keyword in ("items", "additionalProperties"):
        if keyword in part:
            yield (keyword,), part[keyword]


MAX_LENGTH = 65_536
"""Limit of a string's length, in characters."""
MAX_COUNT = 4096
"""Limit of items or properties."""
MAX_NUMBER = 2**53
"""Up to here every whole number is exact in every client."""
MAX_MULTIPLE = 10_000
"""Digits of a step as one whole number: the automaton has as many states."""

MAX_WHOLE = 10**18
"""Whole numbers are written up to here: they fit 64 bits, and digits come to an end."""
MAX_PLACES = 12
"""Most decimal places of a bound."""

_TYPES = ("string", "number", "integer", "boolean", "object", "array", "null")
_FORMATS = frozenset(("duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri"))
_YEAR = "(?:[1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9])"
_FOURTH = "(?:0[48]|[2468][048]|[13579][26])"
_DAY = (
    f"(?:{_YEAR}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])"
    "|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))"
    f"|(?:[0-9]{{2}}{_FOURTH}|{_FOURTH}00)-02-29)"
)
_CLOCK = "(?:[01][0-9]|2[0-3]):[0-5][0-9]"
_TIME = rf"{_CLOCK}:[0-5][0-9](?:\.[0-9]{{1,9}})?(?:Z|[+-]{_CLOCK})"
_CALENDAR: Mapping[str, str] = {
    "date": f"^{_DAY}$",
    "time": f"^{_TIME}$",
    "date-time": f"^{_DAY}T{_TIME}$",
}
"""Formats spelt out here: no 29 February but in leap years, and no leap second."""
_HINTS = frozenset(("int32", "int64", "float", "double", "byte", "binary", "password"))
"""Formats of OpenAPI, which only hint at storage."""
_ESCAPED = frozenset("\b\f\n\r\t")


def text(value: object, where: str) -> str:
    """A string."""
    if not isinstance(value, str):
        raise refusal(f"found {value!r:.60}; expected a string", where)
    return value


def writable(value: str, where: str) -> str:
    """A string that can be written in an answer."""
    if any(char < " " and char not in _ESCAPED for char in value) or "\x7f" in value:
        raise refusal("has a control character that is not written in answers; leave it out", where)
    return value


def _type(value: object, where: str) -> str | list[str]:
    if isinstance(value, str) and value in _TYPES:
        return value
    if not isinstance(value, list) or not value or any(name not in _TYPES for name in value):
        raise refusal(f"found {value!r:.60}; expected one of {', '.join(_TYPES)}", where)
    return [name for name in _TYPES if name in value]


def _literal(value: object, where: str) -> object:
    """A literal value."""
    match value:
        case str():
            return writable(value, where)
        case int() | float() if not isinstance(value, bool):
            return number(value, where)
        case list():
            return [_literal(item, place(where, [at])) for at, item in enumerate(value)]
        case dict():
            return {
                writable(name, where): _literal(item, place(where, [name]))
                for name, item in value.items()
            }
    return value


def _enum(value: object, where: str) -> list[object]:
    if not isinstance(value, list) or not value:
        raise refusal(f"found {value!r:.60}; expected a list of values", where)
    return [_literal(item, place(where, [at])) for at, item in enumerate(value)]


def _required(value: object, where: str) -> list[str]:
    if not isinstance(value, list):
        raise refusal(f"found {value!r:.60}; expected a list of property names", where)
    names = [writable(text(name, where), where) for name in value]
    if len(names) > MAX_COUNT:
        raise refusal(f"{len(names)} names; at most {MAX_COUNT} are taken", where)
    return list(dict.fromkeys(names))


def number(value: object, where: str) -> int | float:
    """A number that every reader of JSON understands alike."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise refusal(f"found {value!r:.60}; expected a number", where)
    if not isfinite(value) or abs(value) > MAX_NUMBER:
        raise refusal("this number is beyond 2^53; nearer numbers are exact everywhere", where)
    if value == int(value):
        return int(value)
    exponent = Decimal(repr(value)).as_tuple().exponent
    if not isinstance(exponent, int) or exponent < -MAX_PLACES:
        raise refusal(f"this number has more than {MAX_PLACES} decimal places; round it", where)
    return value


def _multiple(value: object, where: str) -> int | float:
    step = number(value, where)
    digits = Decimal(repr(step)).normalize().as_tuple().digits
    if step <= 0 or int("".join(map(str, digits))) > MAX_MULTIPLE:
        raise refusal(
            f"found {step!r:.40}; expected a step above 0 of digits up to {MAX_MULTIPLE}", where
        )
    return step


def _count(limit: int) -> Callable[[object, str], int]:
    def read(value: object, where: str) -> int:
        if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
            raise refusal(f"found {value!r:.60}; expected a whole number", where)
        if not 0 <= value <= limit:
            raise refusal(f"found {value!r:.40}; it must be from 0 to {limit}", where)
        return int(value)

    return read


READERS: Mapping[str, Callable[[Any, str], Any]] = {
    "type": _type,
    "enum": _enum,
    "const": _literal,
    "required": _required,
    "format": text,
    "minLength": _count(MAX_LENGTH),
    "maxLength": _count(MAX_LENGTH),
    "minItems": _count(MAX_COUNT),
    "maxItems": _count(MAX_COUNT),
    "minProperties": _count(MAX_COUNT),
    "maxProperties": _count(MAX_COUNT),
    "minimum": number,
    "maximum": number,
    "exclusiveMinimum": number,
    "exclusiveMaximum": number,
    "multipleOf": _multiple,
}


def settle_formats(part: dict[str, Any], where: str) -> None:
    """Spell out dates and times, drop hints, refuse unknown formats."""
    name = part.get("format")
    if name is None or name in _FORMATS:
        return
    if name in _CALENDAR:
        part["allOf"] = [*part.get("allOf", ()), {"pattern": _CALENDAR[name]}]
    elif name not in _HINTS:
        known = ", ".join(sorted({*_FORMATS, *_CALENDAR}))
        raise refusal(
            f"the format {name!r:.40} is unknown; expected one of {known}",
            place(where, ["format"]),
        )
    del part["format"]


def settle_whole_numbers(part: dict[str, Any]) -> None:
    """Bound integers that have no bound of their own."""
    named = part.get("type", ())
    types = {named} if isinstance(named, str) else set(named)
    if "integer" in types and "number" not in types:
        if "exclusiveMinimum" not in part:
            part.setdefault("minimum", -MAX_WHOLE)
        if "exclusiveMaximum" not in part:
            part.setdefault("maximum", MAX_WHOLE)


def settle_zero_bounds(part: dict[str, Any]) -> None:
    """Say above or below zero by the nearest number that can be a bound.

    The engine lets 0 pass above an exclusive 0 when the other bound is nearer to zero than 1.
    """
    least = 10.0**-MAX_PLACES
    if part.get("exclusiveMinimum") == 0:
        del part["exclusiveMinimum"]
        part["minimum"] = max(part.get("minimum", least), least)
    if part.get("exclusiveMaximum") == 0:
        del part["exclusiveMaximum"]
        part["maximum"] = min(part.get("maximum", -least), -least)


_NO_EFFECT = frozenset((
    "title", "description", "default", "examples", "$schema", "$comment", "$anchor", "deprecated",
    "readOnly", "writeOnly", "contentMediaType", "contentEncoding", "contentSchema",
    "discriminator", "nullable", "strict", "$defs", "definitions",
))  # fmt: skip


def has_no_effect(keyword: str, value: object, *, at_root: bool) -> bool:
    """Whether a keyword is allowed because it constrains nothing."""
    if keyword == "$id":
        return at_root  # elsewhere it would change what references mean
    if keyword == "uniqueItems":
        return value is False
    return keyword in _NO_EFFECT or keyword.startswith("x-")
