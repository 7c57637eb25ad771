import pytest

from ossia.errors import RequestError
from ossia.harmony.schema_rules import MAX_PARTS_TOGETHER, check_together, normalise


def plain(schema, **root):
    """The normalised form of one property."""
    found = normalise({"type": "object", "properties": {"p": schema}, **root})
    return found.schema["properties"]["p"]


def test_local_references_are_followed_and_what_stands_beside_wins():
    defs = {"$defs": {"A/b": {"type": "string", "description": "inner"}}}
    found = plain({"$ref": "#/$defs/A~1b", "description": "outer"}, **defs)
    assert found == {"type": "string", "description": "outer"}


def test_references_may_follow_references_and_list_places():
    root = {"$defs": {"A": {"$ref": "#/$defs/B"}, "B": {"oneOf": [{"type": "number"}]}}}
    assert plain({"$ref": "#/$defs/A"}, **root)["oneOf"] == [{"type": "number"}]
    assert plain({"$ref": "#/$defs/B/oneOf/0"}, **root) == {"type": "number"}


@pytest.mark.parametrize(
    ("ref", "refusal"),
    [
        ("#", "refers to itself"),
        ("#/properties/p", "refers to itself"),
        ("#/$defs/loop", "refers to itself"),
        ("https://example.org/a.json", "only local references"),
        ("#/$defs/none", "not there"),
        ("#/required/9", "not there"),
        ("#/required/0", "is not a schema"),
    ],
)
def test_a_reference_that_leads_nowhere_is_refused(ref, refusal):
    loop = {"type": "array", "items": {"$ref": "#/$defs/loop"}}
    with pytest.raises(RequestError, match=refusal):
        plain({"$ref": ref}, **{"$defs": {"loop": loop}, "required": ["p"]})


def test_a_reference_used_twice_is_no_cycle():
    defs = {"$defs": {"A": {"type": "string"}}}
    schema = {"type": "object", "properties": {k: {"$ref": "#/$defs/A"} for k in "xy"}}
    assert plain(schema, **defs)["properties"] == {k: {"type": "string"} for k in "xy"}


def test_a_small_schema_cannot_unfold_into_millions():
    defs = {
        f"d{n}": {
            "type": "object",
            "properties": {k: {"$ref": f"#/$defs/d{n + 1}"} for k in "abcdef"},
        }
        for n in range(10)
    }
    with pytest.raises(RequestError, match="more than 10000 parts"):
        plain({"$ref": "#/$defs/d0"}, **{"$defs": {**defs, "d10": {"type": "string"}}})


@pytest.mark.parametrize(
    ("schema", "found"),
    [
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, {"type": "string", "nullable": True}),
        ({"anyOf": [{"type": "string"}]}, {"type": "string"}),
        ({"anyOf": [{"type": "string"}, {"type": "integer"}]}, {"type": ["string", "integer"]}),
        (
            {"anyOf": [{"type": "string"}, {"type": "number"}, {"type": "null"}], "default": 1},
            {"type": ["string", "number", "null"], "default": 1},
        ),
        ({"allOf": [{"type": "string"}], "title": "T"}, {"type": "string", "title": "T"}),
        ({"anyOf": [{"allOf": [{"anyOf": [{"type": "boolean"}]}]}]}, {"type": "boolean"}),
        ({"const": 3}, {"literals": [3]}),
        ({"enum": ["a", 1, None]}, {"enum": ["a", 1, None], "literals": ["a", 1, None]}),
        ({"enum": ["a"]}, {"enum": ["a"], "literals": ["a"]}),
        ({"type": "string", "enum": ["a"]}, {"type": "string", "enum": ["a"]}),
        ({"type": "null"}, {"type": "null", "literals": [None]}),
        ({"type": ["string", "null"]}, {"type": ["string", "null"]}),
        ({"type": ["string"]}, {"type": "string"}),
        ({"type": []}, {}),
        ({"properties": {}}, {"type": "object", "properties": {}}),
        ({"items": {}}, {"type": "array", "items": {}}),
        ({"items": [1]}, {"type": "array"}),
        ({"oneOf": []}, {}),
        ({"oneOf": "x", "properties": 3}, {"type": "object"}),
        ({"anyOf": "x"}, {"anyOf": "x"}),
        (True, {}),
        (
            {"type": ["array", "null"], "items": {"type": "string"}},
            {"type": "array", "items": {"type": "string"}, "nullable": True},
        ),
        (
            {"type": ["string", "object"], "properties": {}, "title": "T"},
            {
                "title": "T",
                "oneOf": [
                    {"properties": {}, "type": "string"},
                    {"properties": {}, "type": "object"},
                ],
            },
        ),
    ],
)
def test_what_has_no_spelling_becomes_what_has_one(schema, found):
    assert plain(schema) == found


def test_any_of_whole_types_becomes_a_choice():
    variants = [{"type": "object", "properties": {"a": {"type": "string"}}}, {"type": "null"}]
    found = plain({"anyOf": [*variants, {"type": "string"}]})
    assert [variant["type"] for variant in found["oneOf"]] == ["object", "null", "string"]


@pytest.mark.parametrize(
    ("schema", "refusal"),
    [
        (7, "are 7; expected a JSON schema object"),
        ({"type": "array"}, "of type 'array'; expected type object"),
        ({"type": "object", "properties": {"a": 5}}, "holds 5 where a schema is expected"),
        ({"type": "object", "properties": {"a": {"type": ["x"]}}}, "has the type 'x'"),
        ({"type": "object", "default": {1, 2}}, "is not JSON"),
        ({"type": "object", "description": "x" * (64 << 10)}, "more than 65536"),
    ],
)
def test_what_is_no_tools_schema_is_refused(schema, refusal):
    with pytest.raises(RequestError, match=refusal):
        normalise(schema)


def nested(levels, wrap):
    schema = {"type": "string"}
    for _ in range(levels):
        schema = wrap(schema)
    return schema


@pytest.mark.parametrize(
    "wrap",
    [
        lambda inner: {"type": "object", "properties": {"p": inner}},
        lambda inner: {"type": "array", "items": inner},
        lambda inner: {"oneOf": [inner]},
        lambda inner: {"anyOf": [inner]},
        lambda inner: {"allOf": [inner]},
    ],
)
@pytest.mark.parametrize("levels", [17, 5000])
def test_a_schema_too_deep_is_refused(wrap, levels):
    with pytest.raises(RequestError, match=r"nests deeper|wraps a type"):
        plain(nested(levels, wrap))


def test_a_schema_of_the_greatest_depth_is_accepted():
    assert plain(nested(15, lambda inner: {"type": "array", "items": inner}))["type"] == "array"


def test_the_schema_given_is_left_as_it_was():
    schema = {"type": "object", "properties": {"p": {"anyOf": [{"type": "string"}]}}}
    normalise(schema)
    assert schema == {"type": "object", "properties": {"p": {"anyOf": [{"type": "string"}]}}}


def test_parts_are_counted_where_they_are_referred_to():
    defs = {"$defs": {"A": {"type": "object", "properties": {"a": {}, "b": {}}}}}
    once = {"type": "object", "properties": {"x": {"$ref": "#/$defs/A"}}, **defs}
    twice = {**once, "properties": {"x": {"$ref": "#/$defs/A"}, "y": {"$ref": "#/$defs/A"}}}
    assert normalise(once).num_parts == 4
    assert normalise(twice).num_parts == 7


@pytest.mark.parametrize(
    "heavy",
    [
        {"description": "x" * 20_000},
        {"description": "\n" * 1000},
        {"enum": ["abcdef"] * 3000},
        {"enum": [1] * 10_000},
        {"type": "object", "required": ["a"] * 5000},
        {"type": "object", "properties": {"k" * 30_000: {}}},
        {"anyOf": [{"type": "string"}] * 1500},
        {"anyOf": [*[{}] * 6000, 7]},
        {"type": ["string"] * 3000},
        {"default": {"a": ["b" * 40] * 600}},
    ],
    ids=lambda heavy: " ".join(heavy),
)
def test_what_is_heavy_counts_each_time_it_is_referred_to(heavy):
    refs = {f"p{n}": {"$ref": "#/$defs/heavy"} for n in range(1000)}
    with pytest.raises(RequestError, match="more than 10000 parts"):
        normalise({"type": "object", "properties": refs, "$defs": {"heavy": heavy}})


def test_keywords_without_a_spelling_are_not_carried_along():
    many = {f"x-{n}": n for n in range(50)}
    assert plain({"type": "string", "literals": [1], "x-a": 2}) == {"type": "string"}
    assert plain({"$ref": "#/$defs/A"}, **{"$defs": {"A": {"type": "string", **many}}}) == {
        "type": "string"
    }


def test_an_any_of_that_is_no_list_is_left_aside():
    assert plain({"allOf": [{"type": "string"}], "anyOf": 5}) == {"type": "string", "anyOf": 5}


def test_the_tools_of_a_conversation_are_bounded_together():
    check_together(MAX_PARTS_TOGETHER)
    with pytest.raises(RequestError, match="more than 20000 parts together"):
        check_together(MAX_PARTS_TOGETHER + 1)
