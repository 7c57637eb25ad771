"""Converts pydantic's validation errors to one RequestError.

Knows pydantic's error types, not the fields of any request.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ossia.errors import RequestError

_KINDS = {
    "string_type": "a string",
    "int_type": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "int_parsing": "an integer",
    "bool_parsing": "true or false",
    "none_required": "null",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
}
"""Errors of a value of the wrong type -> the expected type."""

_BOUNDS = {
    "literal_error": "{expected}",
    "enum": "{expected}",
    "greater_than": "a number above {gt}",
    "greater_than_equal": "a number of at least {ge}",
    "less_than": "a number below {lt}",
    "less_than_equal": "a number of at most {le}",
    "string_too_short": "a string of at least {min_length} characters",
    "string_too_long": "a string of at most {max_length} characters",
    "string_pattern_mismatch": "a string that matches {pattern}",
    "string_unicode": "a string without lone surrogates",
    "too_short": "at least {min_length} items",
    "too_long": "at most {max_length} items",
    "union_tag_invalid": "{discriminator} to be one of {expected_tags}",
    "union_tag_not_found": "an object with {discriminator}",
    "int_parsing_size": "a smaller integer",
}
"""Errors of a value out of bounds -> the expected value."""

_NAME = re.compile(r"(?!(?:str|int|float|bool|none)$)[A-Za-z_][A-Za-z0-9_]*")
"""Matches field names, unlike pydantic's labels such as `str` and `list[Message]`."""
_PLACES = ("body", "query", "path", "header", "cookie")
_MAX_STATES = 64

Path = tuple[str | int, ...]


def refusal(errors: Sequence[Mapping[str, Any]], document: object) -> RequestError:
    """Convert the most specific of pydantic's errors.

    Args:
        errors: of `ValidationError.errors()`; at least one.
        document: the validated value; it distinguishes fields from pydantic's labels.
            None: labels are recognised by `_NAME`.
    """
    placed = [(_path(error, document), error) for error in errors]
    deepest = max((path for path, _ in placed), key=len)
    here = [error for path, error in placed if path == deepest]
    error = next((each for each in here if each["type"] not in _KINDS), here[0])
    param = written(deepest) or None
    name = param or "the body"
    kind = error["type"]
    if kind == "missing":
        return RequestError(f"{name} is missing; add it", param=param, code="missing_field")
    if kind == "extra_forbidden":
        return RequestError(
            f"{name} is not a field of this request; leave it out",
            param=param,
            code="unsupported_parameter",
        )
    if kind == "json_invalid":
        return RequestError("the body is not valid JSON; send one JSON object")
    if kind == "value_error":  # raised by a validator of this package
        return RequestError(f"{name}: {error['ctx']['error']}", param=param)
    expected = _BOUNDS.get(kind, "another value").format_map(_context(error))
    if kind in _KINDS:
        expected = " or ".join(dict.fromkeys(_KINDS[each["type"]] for each in here))
    return RequestError(f"{name} is {found(error['input'])}; expected {expected}", param=param)


def written(path: Path) -> str:
    """Format a path as OpenAI does: tools[2].function.name."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text[:200]


def found(value: object) -> str:
    """Describe a value for an error message: its type, and the value itself if short."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str() if len(value) <= 40:
            return repr(value)
        case str():
            return f"a string of {len(value)} characters"
        case int() if value.bit_length() > 128:
            return "an integer of too many digits"
        case int() | float():
            return repr(value)
        case list() | tuple():
            return f"a list of {len(value)} items"
        case bytes():
            return "not JSON"
        case _:
            return "an object"


def _path(error: Mapping[str, Any], document: object) -> Path:
    """Return an error's path in the document, without pydantic's labels of union members."""
    parts = error["loc"]
    if document is None:
        return tuple(p for p in parts if isinstance(p, int) or _NAME.fullmatch(p))
    if error["type"] == "missing" and parts:
        return (*_descend(parts[:-1], document, error["input"]), parts[-1])
    if error["type"] == "json_invalid":
        return ()
    return _descend(parts, document, error["input"])


def _descend(parts: Sequence[str | int], document: object, end: object) -> Path:
    """Return the path along `parts` that ends at `end`, else the longest; parts may be labels."""
    states: list[tuple[Path, Any]] = [((), document)]
    for part in parts:
        deeper = [((*path, part), value[part]) for path, value in states if _holds(value, part)]
        states = deeper + [state for state in states if isinstance(part, str)]
        states = states[:_MAX_STATES]
    ends = [path for path, value in states if value is end]
    return max(ends or [path for path, _ in states], key=len, default=())


def _holds(value: Any, part: str | int) -> bool:
    if isinstance(value, dict):
        return part in value
    return isinstance(value, list | tuple) and isinstance(part, int) and part < len(value)


def _context(error: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value)[:300] for name, value in error.get("ctx", {}).items()}


def without_place(errors: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Strip FastAPI's first path part (`body`, `query` ...) from errors."""
    return [
        {**error, "loc": error["loc"][1:]} if error["loc"][:1] in [(p,) for p in _PLACES] else error
        for error in errors
    ]
