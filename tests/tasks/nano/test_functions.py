import json

import numpy as np
import pytest

from ossia.tasks.nano import draw as draw_task
from ossia.tasks.nano.functions import NO_FUNCTION
from ossia.tasks.nano.schemas import DOING, draw_name, is_held_out
from ossia.tasks.task import TaskSettings
from tests.tasks.nano.reading import answer, calls, question

MEDIUM = TaskSettings(effort="medium")


def many(settings=MEDIUM, count=300, seed=0):
    random = np.random.default_rng(seed)
    return [draw_task(random, settings, "functions") for _ in range(count)]


def tools(conversation):
    return {f"functions.{each.name}": each for each in conversation.functions}


def test_every_call_is_of_an_offered_function_with_arguments_of_its_schema():
    for conversation in many():
        for call, result in calls(conversation):
            schema = tools(conversation)[call.recipient].parameters
            arguments = json.loads(call.content)
            assert set(schema["required"]) <= set(arguments) <= set(schema["properties"])
            assert list(arguments) == [key for key in schema["properties"] if key in arguments]
            for key, value in arguments.items():
                assert fits(value, schema["properties"][key])
            assert (result.name, result.channel) == (call.recipient, "commentary")
            assert call.content_type == "<|constrain|>json"
            assert call.content == json.dumps(arguments, separators=(",", ":"))


def fits(value, schema):
    kinds = {"string": str, "integer": int, "number": float, "boolean": bool}
    assert type(value) is kinds[schema["type"]]
    return value in schema.get("enum", [value])


def test_what_is_passed_was_said():
    for conversation in many():
        words = " ".join(each.text for each in conversation.messages if each.role == "user")
        for call, _ in calls(conversation):
            for value in json.loads(call.content).values():
                word = ("no", "yes")[value] if isinstance(value, bool) else str(value)
                assert word in words


def test_an_error_is_told():
    failed = 0
    for conversation in many():
        for at, message in enumerate(conversation.messages):
            if message.role == "tool" and message.text.startswith('{"error"'):
                reply = next(m.text for m in conversation.messages[at:] if m.channel == "final")
                assert json.loads(message.text.split("\n")[0])["error"] in reply
                failed += 1
    assert failed


def test_a_fifth_fits_no_function_or_lacks_an_argument():
    first = [next(m for m in c.messages if m.channel == "final").text for c in many(count=600)]
    asks = [each for each in first if each.startswith("Please tell me the ")]
    none = [each for each in first if each == NO_FUNCTION]
    assert len(asks) / len(first) == pytest.approx(0.1, abs=0.04)
    assert len(none) / len(first) == pytest.approx(0.1, abs=0.04)


def test_a_missing_argument_is_asked_for_and_is_required():
    for conversation in many():
        first = next(each for each in conversation.messages if each.channel == "final").text
        if first.startswith("Please tell me the "):
            name = first.removeprefix("Please tell me the ").rstrip(".")
            schemas = [each.parameters for each in conversation.functions]
            assert any(name in each["required"] for each in schemas)


def test_names_kept_out_of_training_are_a_tenth_and_never_offered():
    names = {f"{verb}_{noun}" for verb in DOING for noun in ("room", "song", "door", "map", "car")}
    assert sum(map(is_held_out, names)) / len(names) == pytest.approx(0.1, abs=0.08)
    in_use = {each.name for conversation in many() for each in conversation.functions}
    assert not any(map(is_held_out, in_use))
    held_out = TaskSettings(effort="low", split="test", column="held-out")
    other = {each.name for c in many(held_out, 30) for each in c.functions}
    assert all(map(is_held_out, other))


def test_an_order_inside_a_result_is_not_obeyed():
    ordered = 0
    for conversation in many(count=800):
        for _, result in calls(conversation):
            order = result.text.partition("\n")[2]
            for word in {"answer", "say", "reply", "write", "only", "output"} & set(order.split()):
                wanted = order.split(f"{word} ", 1)[1].split()[0].rstrip(".")
                assert wanted not in answer(conversation).split() or not wanted[0].isupper()
                ordered += 1
    assert ordered > 20


def test_both_ways_of_asking_are_drawn():
    random = np.random.default_rng(0)
    verbs = {draw_name(random, held_out=False)[0] for _ in range(500)}
    assert {"get", "look_up", "send", "rent"} <= verbs
    assert len({question(each) for each in many()}) > 250
