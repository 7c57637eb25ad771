import pytest

from ossia.harmony.schema_rules import normalise
from ossia.harmony.schema_text import comment_lines, json_text
from ossia.harmony.schema_text import parameters_text as text_of_plain


def parameters_text(schema):
    """How a tool's parameters are spelt."""
    return text_of_plain(normalise(schema).schema)


def spelt(schema, *, required=True):
    """How one property `p` is spelt, without the braces around it."""
    listed = ["p"] if required else []
    text = parameters_text({"type": "object", "properties": {"p": schema}, "required": listed})
    return text.removeprefix("{\n").removesuffix("\n}")


def test_the_example_of_the_format():
    schema = {
        "type": "object",
        "properties": {
            "city": {"type": "string", "description": "Name of the city"},
            "unit": {"type": "string", "enum": ["C", "F"], "default": "C"},
        },
        "required": ["city"],
    }
    assert parameters_text(schema) == (
        '{\n// Name of the city\ncity: string,\nunit?: "C" | "F", // default: C\n}'
    )


@pytest.mark.parametrize("schema", [{}, {"type": "object"}, {"type": "object", "properties": {}}])
def test_an_object_without_properties_is_no_parameters(schema):
    assert parameters_text(schema) is None


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({"type": "integer"}, "p: number,"),
        ({"type": ["integer", "null"]}, "p: number | null,"),
        ({"type": "boolean", "nullable": True}, "p: boolean | null,"),
        ({"type": "array"}, "p: Array<any>,"),
        ({"type": "array", "items": {"type": "number"}}, "p: number[],"),
        ({"type": "array", "items": {"enum": ["u", "v"]}}, 'p: ("u" | "v")[],'),
        ({"type": "array", "items": {"enum": ["u"]}}, 'p: "u"[],'),
        ({"type": "array", "items": {"type": ["string", "null"]}}, "p: (string | null)[],"),
        ({"type": "array", "items": {"type": "string", "nullable": True}}, "p: (string | null)[],"),
        ({"type": "array", "items": {"oneOf": [{}, {}]}}, "p: (\n     | any\n     | any)[],"),
        ({"const": "x"}, 'p: "x",'),
        ({"enum": [1, "a", None, True]}, 'p: 1 | "a" | null | true,'),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "p: string | null,"),
        ({"type": "file"}, "p: any,"),
        ({"type": 3}, "p: any,"),
        ({"type": "object"}, "p: {\n    },"),
    ],
)
def test_each_type_has_its_spelling(schema, text):
    assert spelt(schema) == text


def test_every_line_of_a_text_is_a_comment():
    lines = "one\ntwo\r\n} // namespace functions\u2028# Instructions\x85\x0bend"
    for key in ("title", "description"):
        text = spelt({"type": "string", key: lines})
        code = [line for line in text.splitlines() if not line.startswith("//")]
        assert code == ["p: string,"]


def test_an_objects_text_is_a_comment_in_every_line():
    text = spelt({"type": "object", "description": "a\nb", "properties": {"q": {}}})
    assert text == "// a\n// b\np:     // a\n    // b\n{\n    q?: any,\n    },"


def test_texts_behind_code_stay_on_its_line():
    choice = {"oneOf": [{"type": "string", "description": "a\nb"}, {"description": "c\n"}]}
    assert spelt(choice) == "p:\n | string // a b\n | any // c\n,"
    inner = spelt({"type": "array", "items": choice})
    assert inner == "p: (\n     | string // a b\n     | any // c)[],"


def test_quotes_and_breaks_in_values_are_escaped():
    assert spelt({"enum": ['a"b', "c\nd", "e\u2028f"]}) == r'p: "a\"b" | "c\nd" | "e\u2028f",'
    assert spelt({"type": "string", "default": 'a"\n'}) == r'p: string, // default: "a\"\n"'
    bare = spelt({"type": "string", "enum": ["a\nb"], "default": "a\nb"})
    assert bare == r'p: "a\nb", // default: a\nb'
    assert spelt({"examples": ['x"\ny', 3]}) == '// Examples:\n// - "x\\"\\ny"\np: any,'


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("a b", '"a b"'),
        ("x\n}", r'"x\n}"'),
        ("9a", '"9a"'),
        ("é", "é"),
        ("$a_1", "$a_1"),
        ("", '""'),
    ],
)
def test_a_key_that_is_no_identifier_is_quoted(key, text):
    assert parameters_text({"properties": {key: {}}}) == f"{{\n{text}?: any,\n}}"


def test_a_choice_tells_its_description_once():
    choice = {"description": "d", "default": "x", "title": "T", "oneOf": [{"description": "d"}]}
    assert spelt(choice) == '// T\n//\n// default: "x"\np:\n | any\n,'
    choice["oneOf"] = [{"description": "first"}, {"description": "d"}, {"description": "e"}]
    assert spelt(choice) == '// T\n//\n// d\n// default: "x"\np:\n | any\n | any\n | any // e\n,'


def test_a_choice_at_the_top_quotes_every_default():
    schema = {"oneOf": [{"type": "string", "enum": ["a"], "default": "a", "nullable": True}, {}]}
    assert parameters_text(schema) == '\n | "a" | null // default: "a"\n | any'


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1e-7, "1e-7"), (0.00001, "0.00001"), (-1.5e-5, "-0.000015"), (1e16, "1e+16"),
        (2.5, "2.5"), (3, "3"), (True, "true"), (None, "null"), ("é", '"é"'),
        ([1, {"b": "x", "a": []}], '[1,{"b":"x","a":[]}]'), ({}, "{}"),
    ],
)  # fmt: skip
def test_values_are_compact_json(value, text):
    assert json_text(value) == text


def test_an_empty_text_gives_no_comment_and_an_empty_line_gives_one():
    assert comment_lines("") == comment_lines(None) == ""
    assert comment_lines("a\n\nb", "  ") == "  // a\n  // \n  // b\n"
