import pytest

from ossia.tasks.nano.judge import fits, is_right_answer


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": "x", "b": 1}, True),
        ({"a": None, "b": 1}, True),
        ({"a": "x", "b": True}, False),
        ({"a": "x", "b": 1.5}, False),
        ({"a": "x"}, False),
        ({"a": "x", "b": 1, "c": 2}, False),
        ({"a": "x", "b": 1, "t": ["y", 2]}, False),
        ([], False),
        (None, False),
    ],
)
def test_values_fit_a_schema_or_not(value, expected):
    schema = {
        "type": "object",
        "properties": {
            "a": {"type": ["string", "null"]},
            "b": {"type": "integer"},
            "t": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["a", "b"],
        "additionalProperties": False,
    }
    assert fits(value, schema) == expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("In a wood lived a fox named Ben. He was glad.", True),
        ("In a wood lived a bear named Ben. He was glad.", False),
        ("In a wood lived a fox named Ben. He was", False),
        ("Once lived a fox.", False),
    ],
)
def test_a_story_is_judged_by_its_form_and_its_hero(answer, expected):
    drawn = "In a town lived a fox named Ida. It was warm."
    assert is_right_answer(drawn, answer, question="A story about a fox") == expected


def test_json_is_judged_by_its_meaning():
    assert is_right_answer('{"a":1,"b":2}', '{"b": 2, "a": 1}', question="")
    assert not is_right_answer('{"a":1}', '{"a": 2}', question="")
    assert not is_right_answer("85", "58", question="")
