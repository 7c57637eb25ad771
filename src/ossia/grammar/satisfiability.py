"""Faults of a checked schema as a whole: recursion without a way out, cases that overlap.

Knows checked schemas alone, where every reference is `#/$defs/N`. A oneOf whose cases exclude each
other is an anyOf, which can be enforced. Told apart are types, listed values, and objects by a
property that both require; all else counts as overlapping.
"""

import json
from collections.abc import Mapping
from itertools import combinations
from typing import Any

from ossia.grammar.keywords import Part, Steps, children, target


def first_endless(defs: Mapping[str, Part]) -> Steps | None:
    """Find the path of a part with endless recursion; None if there is none."""
    for name in defs:
        if _comes_round(defs, name):
            return (name,)
    ends: set[str] = set()
    while grown := [name for name in defs if name not in ends and _can_end(defs[name], ends)]:
        ends.update(grown)
    pending: list[tuple[Steps, Part]] = [((name,), part) for name, part in defs.items()]
    for steps, part in pending:
        if not _can_end(part, ends):
            return steps
        if isinstance(part, dict):
            pending += [((*steps, *more), child) for more, child in children(part)]
    return None


_SAME_VALUE = ("anyOf", "allOf", "oneOf")


def _comes_round(defs: Mapping[str, Part], name: str) -> bool:
    """Whether a definition reaches itself before a single character is written."""
    seen: set[str] = set()
    pending = [defs[name]]
    while pending:
        part = pending.pop()
        if not isinstance(part, dict):
            continue
        reached = target(part)
        if reached == name:
            return True
        if reached is not None and reached not in seen:
            seen.add(reached)
            pending.append(defs[reached])
        pending += [child for steps, child in children(part) if steps[0] in _SAME_VALUE]
    return False


def _can_end(part: Part, ends: set[str]) -> bool:
    """Whether some value of this schema is finite, given the definitions known to end."""
    if isinstance(part, bool) or "enum" in part or "const" in part:
        return True
    reached = target(part)
    if reached is not None and reached not in ends:
        return False
    if not all(_can_end(child, ends) for child in part.get("allOf", ())):
        return False
    for keyword in ("anyOf", "oneOf"):
        if keyword in part and not any(_can_end(child, ends) for child in part[keyword]):
            return False
    named = part.get("type", ())
    types = {named} if isinstance(named, str) else set(named)
    ways = [_object_can_end, _array_can_end]
    forms = [way for way, name in zip(ways, ("object", "array"), strict=True) if name in types]
    return not types or len(forms) < len(types) or any(way(part, ends) for way in forms)


def _object_can_end(part: Mapping[str, Any], ends: set[str]) -> bool:
    others = part.get("additionalProperties", True)
    properties = part.get("properties", {})
    return all(_can_end(properties.get(name, others), ends) for name in part.get("required", ()))


def _array_can_end(part: Mapping[str, Any], ends: set[str]) -> bool:
    first = part.get("prefixItems", [])
    num_needed = part.get("minItems", 0)
    needed = [*first[:num_needed], *([part.get("items", True)] if num_needed > len(first) else [])]
    return all(_can_end(item, ends) for item in needed)


MAX_CASES = 200
_MAX_COMPARED = 50_000
_MAX_DEPTH = 8


def first_overlap(defs: Mapping[str, Part]) -> Steps | None:
    """Find the path of a oneOf whose cases may overlap; None if there is none."""
    compared = _Compared(defs)
    pending: list[tuple[Steps, Part]] = [((name,), part) for name, part in defs.items()]
    for steps, part in pending:
        if isinstance(part, bool):
            continue
        cases = part.get("oneOf", ())
        if len(cases) > MAX_CASES or not all(
            compared.apart(one, other, _MAX_DEPTH) for one, other in combinations(cases, 2)
        ):
            return (*steps, "oneOf")
        pending += [((*steps, *more), child) for more, child in children(part)]
    return None


class _Compared:
    """Comparisons of one schema's parts, so many and no more."""

    def __init__(self, defs: Mapping[str, Part]) -> None:
        self._defs = defs
        self._left = _MAX_COMPARED

    def apart(self, one: Part, other: Part, depth: int) -> bool:
        """Whether surely no value fits both."""
        self._left -= 1
        if depth == 0 or self._left <= 0:
            return False
        if isinstance(one, bool) or isinstance(other, bool):
            return one is False or other is False
        return (
            self._by_parts(one, other, depth)
            or self._by_parts(other, one, depth)
            or _by_values(one, other)
            or _types(one).isdisjoint(_types(other))
            or self._by_property(one, other, depth)
        )

    def _by_parts(self, one: Mapping[str, Any], other: Part, depth: int) -> bool:
        """Whether what the first is made of is apart from the second."""
        reached = target(one)
        needed = [*one.get("allOf", ()), *([self._defs[reached]] if reached is not None else [])]
        if any(self.apart(part, other, depth - 1) for part in needed):
            return True
        return any(
            all(self.apart(case, other, depth - 1) for case in one[keyword])
            for keyword in ("anyOf", "oneOf")
            if keyword in one
        )

    def _by_property(self, one: Mapping[str, Any], other: Mapping[str, Any], depth: int) -> bool:
        """Whether both are objects that need a property, but never with the same value."""
        if _types(one) != {"object"} or _types(other) != {"object"}:
            return False
        first, second = one.get("properties", {}), other.get("properties", {})
        shared = set(one.get("required", ())) & set(other.get("required", ()))
        return any(
            self.apart(first[name], second[name], depth - 1)
            for name in sorted(shared & first.keys() & second.keys())
        )


def _by_values(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    first, second = _values(one), _values(other)
    return first is not None and second is not None and first.isdisjoint(second)


def _values(part: Mapping[str, Any]) -> set[str] | None:
    """The values a part lists, spelt; None if it lists none."""
    if "const" not in part and "enum" not in part:
        return None
    listed = [part["const"]] if "const" in part else part["enum"]
    return {json.dumps(value, sort_keys=True) for value in listed}


_ALL_TYPES = frozenset(("string", "number", "boolean", "object", "array", "null"))
_TYPE_OF = {str: "string", int: "number", float: "number", bool: "boolean", dict: "object",
            list: "array", type(None): "null"}  # fmt: skip


def _types(part: Mapping[str, Any]) -> frozenset[str]:
    """The types a value of this part may have, as far as it says; integers are numbers."""
    if "const" in part or "enum" in part:
        listed = [part["const"]] if "const" in part else part["enum"]
        return frozenset(_TYPE_OF[type(value)] for value in listed)
    named = part.get("type", ())
    names = {named} if isinstance(named, str) else set(named)
    return frozenset("number" if name == "integer" else name for name in names) or _ALL_TYPES
