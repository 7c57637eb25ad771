"""JSON schemas without what a model need not read: generated titles, defaults of null.

Knows where in a schema other schemas stand; what a prompt can spell is harmony's to say.
"""

from collections.abc import Mapping
from typing import Any

_ONE = frozenset(("items", "additionalProperties", "contains", "not", "propertyNames"))
_LISTS = frozenset(("anyOf", "oneOf", "allOf", "prefixItems"))
_MAPS = frozenset(("properties", "$defs", "definitions", "patternProperties"))


def trimmed(schema: Mapping[str, Any], *, depth: int = 64) -> dict[str, Any]:
    """A copy that validates the same values.

    Args:
        schema: JSON; parts deeper than `depth` stay as they are.
        depth: levels to go down.
    """
    if depth == 0:
        return dict(schema)

    def part(value: Any) -> Any:
        return trimmed(value, depth=depth - 1) if isinstance(value, Mapping) else value

    found: dict[str, Any] = {}
    for key, value in schema.items():
        if (key == "title" and isinstance(value, str)) or (key == "default" and value is None):
            continue
        if key in _ONE:
            found[key] = part(value)
        elif key in _LISTS and isinstance(value, list):
            found[key] = [part(each) for each in value]
        elif key in _MAPS and isinstance(value, Mapping):
            found[key] = {name: part(each) for name, each in value.items()}
        else:
            found[key] = value
    return found
