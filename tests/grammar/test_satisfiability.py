import pytest

from ossia.errors import RequestError
from ossia.grammar.json_schema import checked
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


def tagged(tag, **more):
    return {
        "type": "object",
        "properties": {"kind": {"const": tag}, **more},
        "required": ["kind"],
        "additionalProperties": False,
    }


APART = [
    [{"type": "string"}, {"type": "integer"}],
    [{"type": ["string", "null"]}, {"type": ["number", "boolean"]}],
    [{"const": "a"}, {"const": "b"}, {"enum": ["c", 1, True]}],
    [{"const": 1}, {"const": True}, {"type": "string"}],
    [tagged("a", x={"type": "string"}), tagged("b")],
    [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/b"}, {"type": "null"}],
    [{"anyOf": [{"type": "string"}, tagged("c")]}, {"$ref": "#/$defs/a"}],
    [{"allOf": [tagged("c")]}, {"$ref": "#/$defs/b"}],
    [{"oneOf": [{"type": "null"}, {"type": "string"}]}, {"type": "array"}],
    [{"anyOf": [{"type": "string"}, {"type": "null"}]}, False, {"type": "array"}],
    [{"type": "string"}],
]
OVERLAPPING = [
    [{"type": "integer"}, {"type": "number"}],
    [{"type": "string", "pattern": "^a"}, {"type": "string", "pattern": "^b"}],
    [{"const": "a"}, {"enum": ["b", "a"]}],
    [{}, {"type": "null"}],
    [True, {"type": "null"}],
    [tagged("a"), tagged("a")],
    [tagged("a"), {"type": "object"}],
    [{"anyOf": [{"type": "string"}, {"type": "null"}]}, {"type": "string"}],
    [{"$ref": "#/$defs/loop"}, {"$ref": "#/$defs/loop"}],
    [{"const": number} for number in range(201)],
]
DEFS = {
    "a": tagged("a"),
    "b": tagged("b"),
    "loop": {"type": "object", "properties": {"n": {"$ref": "#/$defs/loop"}}},
}


@pytest.mark.parametrize("cases", APART)
def test_cases_that_exclude_each_other_are_held(grammars, cases):
    grammars.compile({"oneOf": cases, "$defs": DEFS})


@pytest.mark.parametrize("cases", OVERLAPPING)
def test_cases_that_might_overlap_are_refused_by_their_place(cases):
    schema = {"type": "array", "items": {"oneOf": cases}, "$defs": DEFS}
    with pytest.raises(RequestError, match="told apart") as caught:
        checked(schema, path="s")
    assert caught.value.param == "s.items.oneOf"


def test_a_union_told_apart_by_its_tags_is_written_as_one(accepts):
    schema = {"oneOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/b"}], "$defs": DEFS}
    assert accepts(schema, '{"kind":"b"}')
    assert not accepts(schema, '{"kind":"c"}')


def test_comparing_is_bounded():
    defs = {"d0": {"type": "string"}}
    for level in range(1, 8):
        defs[f"d{level}"] = {"anyOf": [{"$ref": f"#/$defs/d{level - 1}"}] * 8}
    with pytest.raises(RequestError, match="told apart"):
        checked({"oneOf": [{"$ref": "#/$defs/d7"}, {"type": "null"}], "$defs": defs}, path="s")
