"""JSON read strictly: every key once, no NaN, bounded depth, digits and objects.

The limits are arguments, and the caller words the error for its reader; knows no file and no form.
"""

import json
import math
from collections import Counter
from typing import Any, Literal, NoReturn

Fault = Literal["depth", "objects", "duplicate_key", "digits", "infinity", "constant"]


class StrictJsonError(ValueError):
    """JSON that parses, but is ambiguous or beyond a limit."""

    def __init__(self, fault: Fault, found: str, message: str) -> None:
        super().__init__(message)
        self.fault = fault
        self.found = found
        """The key, the number, or the count at fault; empty for depth."""


def parse_strict(
    text: str,
    *,
    max_depth: int | None = None,
    max_digits: int | None = None,
    max_objects: int | None = None,
) -> Any:
    """Parse JSON; without limits, only what every reader understands alike is required.

    Args:
        text: bounded in length by the caller.
        max_depth: of objects and lists inside one another.
        max_digits: of a whole number; with it, numbers beyond a float are refused too.
        max_objects: in the whole document.

    Raises:
        StrictJsonError: a limit is passed, a key stands twice, or NaN or Infinity is written.
        ValueError: it is not JSON.
    """
    num_objects = 0

    def make_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal num_objects
        num_objects += 1
        if max_objects is not None and num_objects > max_objects:
            raise StrictJsonError("objects", str(num_objects), "there are too many objects")
        made = dict(pairs)
        if len(made) < len(pairs):
            [(twice, _)] = Counter(key for key, _ in pairs).most_common(1)
            raise StrictJsonError("duplicate_key", twice, f"the key {twice!r:.80} stands twice")
        return made

    def make_integer(digits: str) -> int:
        if max_digits is not None and len(digits) > max_digits:
            raise StrictJsonError("digits", digits, f"a number has {len(digits)} digits")
        return int(digits)

    def make_float(digits: str) -> float:
        value = float(digits)
        if max_digits is not None and not math.isfinite(value):
            raise StrictJsonError("infinity", digits, f"{digits:.20} is too large")
        return value

    try:
        document = json.loads(
            text,
            object_pairs_hook=make_object,
            parse_int=make_integer,
            parse_float=make_float,
            parse_constant=_refuse_constant,
        )
    except RecursionError:
        raise _too_deep() from None
    if max_depth is not None and is_deeper(document, max_depth):
        raise _too_deep()
    return document


def is_deeper(document: Any, max_depth: int) -> bool:
    """Whether more than `max_depth` objects and lists are inside one another."""
    level = [document] if isinstance(document, dict | list) else []
    for _ in range(max_depth):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
    return bool(level)


def _refuse_constant(name: str) -> NoReturn:
    raise StrictJsonError("constant", name, f"{name} is not a JSON number")


def _too_deep() -> StrictJsonError:
    return StrictJsonError("depth", "", "it is nested too deep")
