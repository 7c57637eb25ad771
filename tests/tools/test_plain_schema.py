"""Schemas without generated words."""

from ossia.tools.plain_schema import trimmed


def test_titles_and_null_defaults_go_wherever_a_schema_stands():
    part = {"type": "string", "title": "T", "default": None}
    plain = {"type": "string"}
    schema = {
        "title": "All",
        "properties": {"title": part, "default": part},
        "$defs": {"title": part},
        "items": part,
        "anyOf": [part, True],
        "additionalProperties": False,
        "default": 0,
        "enum": [{"title": "kept"}],
    }
    assert trimmed(schema) == {
        "properties": {"title": plain, "default": plain},
        "$defs": {"title": plain},
        "items": plain,
        "anyOf": [plain, True],
        "additionalProperties": False,
        "default": 0,
        "enum": [{"title": "kept"}],
    }
    assert schema["title"] == "All"


def test_a_schema_of_any_depth_is_survived():
    schema = {"type": "integer", "title": "deep"}
    for _ in range(5000):
        schema = {"items": schema}
    found = trimmed(schema)
    for _ in range(5000):
        found = found["items"]
    assert found["title"] == "deep"
