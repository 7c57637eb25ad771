import pytest

from ossia.errors import RequestError
from ossia.grammar.json_schema import checked


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
