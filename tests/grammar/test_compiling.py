import json

import pytest

from ossia.grammar.compiling import blamed, byte_tokenizer, llguidance_tokenizer, matcher_of
from ossia.grammar.json_schema import checked
from ossia.grammar.text_grammar import checked_text

OPTIONAL_CHAIN = "^" + "a?" * 2000 + "a" * 2000 + "$"


@pytest.fixture(scope="module")
def tokenizer():
    return byte_tokenizer()


FAULTS = [
    ({"type": "integer", "minimum": 5, "maximum": 1}, "empty", ()),
    ({"type": "string", "enum": [1]}, "empty", ()),
    ({"allOf": [{"type": "string"}, {"type": "integer"}]}, "empty", ()),
    ({"items": {"type": "string", "pattern": "a^b"}}, "pattern", ("items", "pattern")),
    ({"properties": {"a": {"type": "string", "pattern": OPTIONAL_CHAIN}}, "required": ["a"],
      "type": "object"}, "complex", ("properties", "a", "pattern")),
    ({"properties": {"a": {}}, "maxProperties": 1}, "counts", ("maxProperties",)),
    ({"type": "object", "properties": {"a": {"type": "object", "required": ["b"],
      "maxProperties": 0}}, "required": ["a"]}, "empty", ("properties", "a")),
    ({"patternProperties": {"^a": {"type": "string"}, "b$": {}}}, "overlap",
     ("patternProperties",)),
    ({"anyOf": [{"type": "object", "properties": {"n": {"type": "integer", "minimum": 2,
                "maximum": 1}}, "required": ["n"]}]}, "empty", ("anyOf", 0, "properties", "n")),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "fault", "steps"), FAULTS)
def test_names_the_kind_of_fault_and_the_smallest_part_that_has_it(tokenizer, schema, fault, steps):
    text = checked(schema, path="").text
    assert matcher_of(tokenizer, text) == fault
    assert blamed(tokenizer, text, fault) == ("0", *steps)


@pytest.mark.parametrize(
    ("definition", "fault", "line"),
    [
        ("start: a\n", "unreadable", (1,)),
        ('start: "a"\n\nb "c"', "unreadable", (3,)),
        ('a: "b"', "unreadable", ()),
        ("start: a\na: /[b/", "pattern", (2,)),
        ("start: " + "(" * 100 + '"a"' + ")" * 100, "complex", (1,)),
        ("start: start", "empty", ()),
    ],
)
def test_names_the_fault_of_a_grammar_and_its_line(tokenizer, definition, fault, line):
    text = checked_text("lark", definition, path="").text
    assert matcher_of(tokenizer, text) == fault
    assert blamed(tokenizer, text, fault) == line


def test_follows_references_to_the_part_at_fault(tokenizer):
    schema = {
        "type": "array",
        "items": {"$ref": "#/$defs/a"},
        "$defs": {
            "a": {"anyOf": [{"$ref": "#/$defs/b"}, {"type": "array", "items": {"$ref": "#"}}]},
            "b": {"type": "string", "pattern": "x^"},
        },
    }
    schema = checked(schema, path="text.format.schema")
    assert matcher_of(tokenizer, schema.text) == "pattern"
    steps = blamed(tokenizer, schema.text, "pattern")
    assert schema.where(steps) == "text.format.schema.$defs.b.pattern"


def test_a_part_is_not_blamed_for_leading_back(tokenizer):
    schema = {
        "properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}, "a": {}},
        "maxProperties": 1,
    }
    text = checked(schema, path="").text
    assert blamed(tokenizer, text, "counts") == ("0", "maxProperties")


def test_stops_looking_for_the_part_when_there_are_too_many(tokenizer):
    schema = {"anyOf": [*({"const": i} for i in range(500)), {"pattern": "a^", "type": "string"}]}
    text = checked(schema, path="").text
    assert blamed(tokenizer, text, "pattern") == ("0",)


def test_says_where_a_whole_schema_is_at_fault(tokenizer):
    text = json.dumps({"$ref": "#/$defs/0", "$defs": {"0": False}})
    assert matcher_of(tokenizer, text) == "empty"
    assert blamed(tokenizer, text, "empty") == ("0",)


def test_a_schema_that_stops_dead_is_empty(tokenizer):
    text = json.dumps({"$ref": "#/$defs/0", "$defs": {"0": {"$ref": "#/$defs/0"}}})
    assert matcher_of(tokenizer, text) == "empty"


def test_a_vocabulary_needs_an_id_that_is_no_text():
    with pytest.raises(ValueError, match="one to end with"):
        llguidance_tokenizer([b"a"], 1)


def test_rows_beyond_the_vocabulary_are_never_legal():
    assert llguidance_tokenizer([bytes([byte]) for byte in range(256)], 300).vocab_size == 300


def test_the_vocabulary_is_never_asked_to_encode(tokenizer):
    with pytest.raises(BaseException, match=".*"):
        tokenizer.tokenize_str("abc")
