from importlib.resources import files

import pytest

from ossia.tasks.nano.words import load

TABLES = [
    each.name.removesuffix(".json") for each in (files("ossia.tasks.nano") / "data").iterdir()
]


@pytest.mark.parametrize("name", TABLES)
def test_every_table_is_of_a_task_that_exists(name):
    assert (files("ossia.tasks.nano") / f"{name}.py").is_file()
    for value in load(name).values():
        assert isinstance(value, tuple | dict)


def test_lists_are_tuples_at_any_depth():
    kind = load("word_problems")["kinds"][0]
    assert isinstance(kind["wordings"], tuple)
    assert kind["steps"] == (("a", "+", "b"),)
