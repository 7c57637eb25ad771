"""Reads the words of the tasks, which lie beside the code as JSON: data/TASK.json."""

import json
from importlib.resources import files
from typing import Any


def load(task: str) -> dict[str, Any]:
    """The tables of a task by their names; every list is a tuple."""
    text = files("ossia.tasks.nano").joinpath("data", f"{task}.json").read_text(encoding="utf-8")
    return {name: _frozen(value) for name, value in json.loads(text).items()}


def _frozen(value: Any) -> Any:
    match value:
        case list():
            return tuple(_frozen(each) for each in value)
        case dict():
            return {key: _frozen(each) for key, each in value.items()}
    return value
