import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ossia.errors import RequestError
from ossia.grammar.json_schema import (
    MAX_BYTES,
    MAX_DEPTH,
    MAX_PARTS,
    MAX_PROPERTIES,
    MAX_REFERRED,
    checked,
)

PATH = "text.format.schema"


def parts(schema, **options):
    """The definitions a schema was reduced to."""
    return json.loads(checked(schema, path=PATH, **options).text)["$defs"]


def refused(schema):
    """The place and the words of the refusal."""
    with pytest.raises(RequestError) as caught:
        checked(schema, path=PATH)
    assert caught.value.code == "invalid_json_schema"
    return caught.value.param, str(caught.value)


def test_openais_strict_form_is_kept_as_it_is():
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "pattern": "^[a-z]+$"},
            "age": {"type": ["integer", "null"], "minimum": 0, "maximum": 150},
            "mail": {"type": "string", "format": "email"},
            "kind": {"enum": ["a", "b", 1, 1.5, None, True, {"x": [1]}]},
            "one": {"const": "x"},
            "size": {"type": "number", "multipleOf": 0.5, "exclusiveMinimum": 1},
            "tags": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 3},
            "pair": {"type": "array", "prefixItems": [{"type": "string"}], "items": False},
            "either": {"anyOf": [{"type": "string", "maxLength": 9}, {"type": "boolean"}]},
        },
        "required": ["name", "age"],
        "additionalProperties": False,
    }
    assert parts(schema) == {"0": schema}


def test_annotations_have_no_effect():
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "x", "title": "t",
        "description": "d", "default": 1, "examples": [1], "deprecated": True, "nullable": True,
        "uniqueItems": False, "x-guidance": {"lenient": True}, "type": "number", "format": "float",
    }  # fmt: skip
    assert parts(schema) == {"0": {"type": "number"}}


def test_references_become_numbered_definitions():
    schema = {
        "$ref": "#/$defs/tree",
        "$defs": {
            "tree": {
                "type": "object",
                "properties": {"next": {"anyOf": [{"$ref": "#/$defs/tree"}, {"type": "null"}]}},
                "required": ["next"],
            }
        },
    }
    found = parts(schema)
    assert found["0"] == {"$ref": "#/$defs/1"}
    assert found["1"]["properties"]["next"]["anyOf"][0] == {"$ref": "#/$defs/1"}


def test_references_reach_any_place_and_know_the_escapes_of_pointers():
    schema = {
        "properties": {
            "a/b": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "c": {"$ref": "#/properties/a~1b/anyOf/1"},
            "d": {"$ref": "#/properties/c"},
            "e": {"type": ["array", "null"], "items": {"$ref": "#"}},
        }
    }
    found = parts(schema)
    assert found["1"] == {"type": "null"}
    assert found["2"] == {"$ref": "#/$defs/1"}
    assert found["0"]["properties"]["e"]["items"] == {"$ref": "#/$defs/0"}


def test_arguments_are_objects_whatever_the_schema_says():
    assert parts({}, only_objects=True)["0"] == {"type": "object"}
    assert parts({}) == {"0": {}}


def test_a_property_may_have_the_name_of_a_keyword():
    schema = {"properties": {"pattern": {"type": "string"}, "title": True, "$ref": {}}}
    assert parts(schema) == {"0": schema}


def test_schemas_that_mean_the_same_have_one_digest():
    one = checked({"type": "string", "title": "x"}, path="a")
    two = checked({"description": "y", "type": "string"}, path="b")
    assert one.digest == two.digest
    assert one.where(["0"]) == "a"
    assert two.where([]) == "b"


REFUSED = [
    ([], PATH, "expected a JSON object"),
    ({"not": {}}, f"{PATH}.not", "not supported"),
    ({"properties": {"a": {"uniqueItems": True}}}, f"{PATH}.properties.a.uniqueItems", "uniqueIt"),
    ({"items": {"$id": "x"}}, f"{PATH}.items.$id", "not supported"),
    ({"requried": ["a"]}, f"{PATH}.requried", "not supported"),
    ({"anyOf": [{}, {"pattern": "(?=a)"}]}, f"{PATH}.anyOf[1].pattern", "looks around"),
    ({"anyOf": []}, f"{PATH}.anyOf", "list of schemas"),
    ({"items": [{}]}, f"{PATH}.items", "expected a schema"),
    ({"properties": []}, f"{PATH}.properties", "by name"),
    ({"type": "text"}, f"{PATH}.type", "expected one of"),
    ({"type": []}, f"{PATH}.type", "expected one of"),
    ({"type": ["string", {}]}, f"{PATH}.type", "expected one of"),
    ({"enum": []}, f"{PATH}.enum", "list of values"),
    ({"enum": [[{"a": 1e300}]]}, f"{PATH}.enum[0][0].a", "beyond"),
    ({"const": "a\0"}, f"{PATH}.const", "control character"),
    ({"properties": {"a\x7f": {}}}, f"{PATH}.properties", "control character"),
    ({"required": "a"}, f"{PATH}.required", "list of property names"),
    ({"required": [1]}, f"{PATH}.required", "expected a string"),
    ({"required": [str(i) for i in range(4097)]}, f"{PATH}.required", "at most"),
    ({"maxLength": 2**31}, f"{PATH}.maxLength", "from 0 to"),
    ({"maxLength": -1}, f"{PATH}.maxLength", "from 0 to"),
    ({"maxLength": True}, f"{PATH}.maxLength", "whole number"),
    ({"maxLength": 1.5}, f"{PATH}.maxLength", "whole number"),
    ({"minItems": 10**9}, f"{PATH}.minItems", "from 0 to"),
    ({"minimum": "1"}, f"{PATH}.minimum", "expected a number"),
    ({"exclusiveMinimum": True}, f"{PATH}.exclusiveMinimum", "expected a number"),
    ({"maximum": 2**53 + 1}, f"{PATH}.maximum", "beyond"),
    ({"minimum": 1e-13}, f"{PATH}.minimum", "decimal places"),
    ({"multipleOf": 0}, f"{PATH}.multipleOf", "above 0"),
    ({"multipleOf": 99991}, f"{PATH}.multipleOf", "above 0"),
    ({"format": "regex"}, f"{PATH}.format", "unknown"),
    ({"minProperties": 2}, f"{PATH}.minProperties", "required"),
    ({"properties": {"a": {}}, "minProperties": 1}, f"{PATH}.minProperties", "required"),
    ({"$ref": "https://example.org/s"}, f"{PATH}.$ref", "only places in the schema"),
    ({"$ref": "file:///etc/passwd"}, f"{PATH}.$ref", "only places in the schema"),
    ({"$ref": "#anchor"}, f"{PATH}.$ref", "only places in the schema"),
    ({"$ref": "#/$defs/none"}, f"{PATH}.$ref", "not in the schema"),
    ({"anyOf": [{"$ref": "#/anyOf/7"}]}, f"{PATH}.anyOf[0].$ref", "not in the schema"),
    ({"$ref": "#"}, PATH, "without end"),
    ({"const": "\ud800"}, PATH, "lone surrogate"),
    ({"const": float("nan")}, PATH, "not JSON"),
    ({"const": {1, 2}}, PATH, "not JSON"),
    ({"description": "x" * MAX_BYTES}, PATH, "bytes"),
]


@pytest.mark.parametrize(("schema", "param", "words"), REFUSED)
def test_what_cannot_be_honoured_is_refused_by_its_place(schema, param, words):
    where, message = refused(schema)
    assert where == param
    assert words in message


def test_a_definition_at_fault_is_named_where_it_stands():
    schema = {"items": {"$ref": "#/$defs/d"}, "$defs": {"d": {"anyOf": [{"type": "x"}]}}}
    assert refused(schema)[0] == f"{PATH}.$defs.d.anyOf[0].type"


def nested(keyword, levels):
    schema = {"type": "string"}
    for _ in range(levels):
        if keyword == "properties":
            schema = {"properties": {"a": schema}}
        elif keyword == "items":
            schema = {"items": schema}
        else:
            schema = {keyword: [schema]}
    return schema


@pytest.mark.parametrize("keyword", ["properties", "anyOf", "items", "allOf"])
def test_depth_is_bounded(keyword):
    checked(nested(keyword, MAX_DEPTH), path=PATH)
    for levels in (MAX_DEPTH + 1, 10_000):
        _, message = refused(nested(keyword, levels))
        assert "deeper than" in message


def test_counts_are_bounded():
    many = {f"p{i}": {} for i in range(MAX_PROPERTIES + 1)}
    assert "properties; at most" in refused({"properties": many})[1]
    defs = {f"d{i}": {} for i in range(MAX_REFERRED + 1)}
    refs = [{"$ref": f"#/$defs/{name}"} for name in defs]
    assert "places are referred to" in refused({"anyOf": refs, "$defs": defs})[1]
    assert "parts" in refused({"prefixItems": [{}] * (MAX_PARTS + 1)})[1]


KEYWORDS = st.sampled_from(
    ["type", "properties", "items", "anyOf", "$ref", "$defs", "enum", "required", "pattern",
     "minItems", "minimum", "format", "multipleOf", "prefixItems", "const", "a"]
)  # fmt: skip
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYWORDS, inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=50)
@given(st.dictionaries(KEYWORDS, json_values, max_size=6))
def test_any_value_is_reduced_or_refused(schema):
    refused_at, found = PATH, None
    try:
        found = checked(schema, path=PATH)
    except RequestError as error:
        refused_at = error.param or ""
    assert refused_at.startswith(PATH)
    if found is not None:
        again = checked(json.loads(found.text), path=PATH)
        assert set(json.loads(again.text)) == {"$ref", "$defs"}
