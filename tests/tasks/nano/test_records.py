import json

import numpy as np

from ossia.tasks.nano import draw
from ossia.tasks.nano.records import HELD_OUT, RECORDS
from ossia.tasks.task import TaskSettings
from tests.tasks.nano.reading import answer, question


def many(settings=None, count=400):
    random = np.random.default_rng(0)
    settings = settings or TaskSettings(effort="medium")
    return [draw(random, settings, "records") for _ in range(count)]


def test_every_answer_is_of_its_schema_and_compact():
    kinds = {"string": str, "integer": int, "number": float, "boolean": bool, "array": list}
    for conversation in many():
        (shape,) = conversation.response_formats
        found = json.loads(answer(conversation))
        assert list(found) == shape.schema["required"] == list(shape.schema["properties"])
        assert answer(conversation) == json.dumps(found, separators=(",", ":"), ensure_ascii=False)
        for key, value in found.items():
            allowed = shape.schema["properties"][key]["type"]
            if value is None:
                assert "null" in allowed
            else:
                kind = allowed if isinstance(allowed, str) else allowed[0]
                assert type(value) is kinds[kind]


def test_every_value_was_told_and_null_was_not():
    for conversation in many():
        for value in json.loads(answer(conversation)).values():
            for each in value if isinstance(value, list) else [value]:
                if each is not None and not isinstance(each, bool):
                    assert str(each) in question(conversation) or str(each).lower() in question(
                        conversation
                    )


def test_the_type_kept_out_is_never_trained():
    trained = {each.response_formats[0].name for each in many()}
    held_out = many(TaskSettings(effort="low", split="test", column="held-out"), 20)
    assert trained == set(RECORDS)
    assert {each.response_formats[0].name for each in held_out} == set(HELD_OUT)
