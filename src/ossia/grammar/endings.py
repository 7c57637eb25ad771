"""Which parts of a checked schema can come to an end: recursion must have a way out.

Knows checked schemas alone, where every reference is `#/$defs/N`.
"""

from collections.abc import Iterator, Mapping
from typing import Any

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


def first_endless(defs: Mapping[str, Part]) -> Steps | None:
    """Where a part stands that refers to itself without a way out; None if there is none."""
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
