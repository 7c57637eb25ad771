import pytest

from ossia.grammar.satisfiability import first_endless


def ref(name):
    return {"$ref": f"#/$defs/{name}"}


def needs(schema):
    return {"type": "object", "properties": {"a": schema}, "required": ["a"]}


ENDLESS = [
    ({"0": ref("0")}, ("0",)),
    ({"0": ref("1"), "1": ref("0")}, ("0",)),
    ({"0": {"anyOf": [{"type": "null"}, ref("0")]}}, ("0",)),
    ({"0": {"allOf": [{"oneOf": [ref("0")]}]}}, ("0",)),
    ({"0": needs(ref("0"))}, ("0",)),
    ({"0": {"properties": {"b": ref("1")}}, "1": needs(ref("1"))}, ("1",)),
    ({"0": {"type": "array", "items": ref("0"), "minItems": 1}}, ("0",)),
    ({"0": {"type": "array", "prefixItems": [ref("0")], "minItems": 1}}, ("0",)),
    ({"0": {"allOf": [needs(ref("0"))]}}, ("0",)),
    ({"0": {"anyOf": [needs(ref("0")), needs(ref("0"))]}}, ("0",)),
    ({"0": {"type": "object", "required": ["x"], "additionalProperties": ref("0")}}, ("0",)),
]
ENDING = [
    {"0": True},
    {"0": {}},
    {"0": {"type": "object", "properties": {"a": ref("0")}}},
    {"0": {"type": "object", "required": ["x"]}},
    {"0": {"type": "array", "items": ref("0")}},
    {"0": {"type": ["string"], "anyOf": [{}, needs(ref("0"))]}},
    {"0": {"type": "array", "prefixItems": [True], "items": ref("0"), "minItems": 1}},
    {"0": needs({"anyOf": [ref("0"), {"type": "null"}]})},
    {"0": {"type": ["object", "null"], "properties": {"a": ref("0")}, "required": ["a"]}},
    {"0": {**needs(ref("0")), "enum": [1]}},
    {"0": ref("1"), "1": {"type": "object", "properties": {"b": ref("1"), "c": False}}},
    {"0": {"anyOf": [ref("1"), ref("1")]}, "1": {"const": 1}},
    {"0": {"type": ["object", "array"], "required": ["a"], "properties": {"a": ref("0")}}},
]


@pytest.mark.parametrize(("defs", "steps"), ENDLESS)
def test_names_the_part_that_never_ends(defs, steps):
    assert first_endless(defs) == steps


@pytest.mark.parametrize("defs", ENDING)
def test_recursion_with_a_way_out_ends(defs):
    assert first_endless(defs) is None
