"""Python functions as tools: told by their hints, checked before they run, never raising."""

import asyncio
import enum
import functools
import json
import threading
import time
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Optional, Union

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, field_validator
from typing_extensions import TypedDict

from ossia.errors import RequestError
from ossia.tools.functions import Docstring, as_tool, read_docstring, trimmed
from ossia.tools.tool import Tool, ToolResult


class Unit(enum.Enum):
    C = "celsius"
    F = "fahrenheit"


@dataclass
class Place:
    city: str
    zip: int | None = None


class Order(BaseModel):
    title: str
    amount: Annotated[int, Field(ge=1)] = 1

    @field_validator("title")
    @classmethod
    def is_known(cls, title: str) -> str:
        if title == "broken":
            raise LookupError("no such title")
        return title


class Corner(TypedDict):
    x: float
    y: float


def weather(city: str, days: int = 3, unit: Unit = Unit.C) -> dict[str, Any]:
    """Say what the weather will be.

    Only for cities.

    Args:
        city: which city, in
            English
        days (int): how many days ahead

    Returns:
        What it will be.
    """
    return {"city": city, "days": days, "unit": unit}


def called(function, arguments="", **options) -> ToolResult:
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return asyncio.run(as_tool(function, **options).call(text))


def test_tells_the_model_name_description_and_schema():
    spec = as_tool(weather).spec
    assert isinstance(as_tool(weather), Tool)
    assert spec.name == "functions.weather"
    assert spec.description == "Say what the weather will be.\n\nOnly for cities."
    assert spec.parameters == {
        "$defs": {"Unit": {"enum": ["celsius", "fahrenheit"], "type": "string"}},
        "additionalProperties": False,
        "properties": {
            "city": {"type": "string", "description": "which city, in English"},
            "days": {"type": "integer", "default": 3, "description": "how many days ahead"},
            "unit": {"$ref": "#/$defs/Unit", "default": "celsius"},
        },
        "required": ["city"],
        "type": "object",
    }
    assert (spec.channel, spec.input_format, spec.approval) == ("commentary", "json", "never")


def test_carries_labels_approval_and_time_limit():
    spec = as_tool(
        weather, name="w", labels=frozenset({"reads_private"}), approval="always", seconds=2
    ).spec
    assert (spec.name, spec.labels, spec.approval, spec.seconds) == (
        "functions.w",
        {"reads_private"},
        "always",
        2,
    )


def test_gives_the_function_its_values_and_the_model_json():
    result = called(weather, {"city": "Rome", "unit": "fahrenheit"})
    assert result == ToolResult(text='{"city":"Rome","days":3,"unit":"fahrenheit"}')


def test_values_arrive_as_the_hints_say():
    def take(
        a: Optional[int],  # noqa: UP045
        b: Union[int, str],  # noqa: UP007
        c: Literal["x", "y"],
        d: list[Place],
        e: dict[str, Corner],
        f: Order,
        g: Annotated[str, "what g is"] = "g",
    ) -> str:
        return repr((a, b, c, d, e, f, g))

    text = called(
        take,
        {
            "a": None,
            "b": "1",
            "c": "y",
            "d": [{"city": "Bern"}],
            "e": {"k": {"x": 1, "y": 2}},
            "f": {"title": "tea"},
        },
    ).text
    place, order = Place("Bern"), Order(title="tea")
    assert text == repr((None, "1", "y", [place], {"k": {"x": 1.0, "y": 2.0}}, order, "g"))
    properties = as_tool(take).spec.parameters["properties"]
    assert properties["g"]["description"] == "what g is"
    assert properties["a"] == {"anyOf": [{"type": "integer"}, {"type": "null"}]}


def test_a_property_called_title_stays():
    def buy(order: Order) -> None: ...

    assert as_tool(buy).spec.parameters["$defs"]["Order"]["properties"]["title"] == {
        "type": "string"
    }


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ("{", "error: the arguments are not a JSON object: Invalid JSON: EOF"),
        ("[1]", "error: the arguments are not a JSON object: "),
        ({}, "error: city is missing"),
        ({"city": 3}, "error: city: Input should be a valid string"),
        ({"city": "a", "days": "x"}, "error: days: Input should be a valid integer"),
        ({"city": "a", "unit": "K"}, "error: unit: Input should be 'celsius' or 'fahrenheit'"),
        (
            {"city": "a", "town": 1},
            "error: town is not an argument; the arguments are: city, days, unit",
        ),
        ('{"city": "\\ud800"}', "error: the arguments are not a JSON object: "),
        ('{"city": "\ud800"}', "error: "),
        ("[" * 100_000, "error: the arguments are not a JSON object: "),
    ],
)
def test_wrong_arguments_are_one_line(arguments, text):
    result = called(weather, arguments)
    assert result.is_error
    assert result.text.startswith(text)
    assert "\n" not in result.text
    assert len(result.text) < 600


def test_a_check_of_the_users_may_raise_anything():
    def buy(order: Order) -> str:
        return "bought"

    result = called(buy, {"order": {"title": "broken"}})
    assert (result.text, result.is_error) == ("error: LookupError: no such title", True)


def test_a_function_without_parameters_needs_no_arguments():
    def ping() -> str:
        return "pong"

    assert as_tool(ping).spec.parameters is None
    assert called(ping).text == called(ping, "{}").text == "pong"
    assert called(ping, {"x": 1}).text.endswith("the arguments are: none")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a\nb", "a\nb"),
        (None, "null"),
        ([1, 2.5, True], "[1,2.5,true]"),
        (Place("Bern"), '{"city":"Bern","zip":null}'),
        (Order(title="tea"), '{"title":"tea","amount":1}'),
        (Path("a/b"), '"a/b"'),
        (ToolResult(text="no", is_error=True), "no"),
    ],
)
def test_results_are_text_or_json(value, text):
    def give() -> Any:
        return value

    assert called(give).text == text


@pytest.mark.parametrize("value", [b"\xff", "error"], ids=["no text", "raised"])
def test_exceptions_are_one_line(value):
    def give() -> Any:
        if value == "error":
            raise ValueError("first\nsecond " + "x" * 1000)
        return value

    result = called(give)
    assert result.is_error
    assert "\n" not in result.text
    assert len(result.text) <= 510


@pytest.mark.parametrize("error", [SystemExit(3), StopIteration("x"), KeyboardInterrupt()])
def test_even_what_would_end_a_program_is_a_result(error):
    def leave() -> None:
        raise error

    assert called(leave).text.startswith("error: ")


def test_async_functions_run_where_they_are_called():
    async def where(name: str) -> str:
        await asyncio.sleep(0)
        return f"{name} {threading.current_thread() is threading.main_thread()}"

    class Kind:
        async def __call__(self, name: str) -> str:
            """Say a name."""
            return name

    assert called(where, {"name": "n"}).text == "n True"
    assert called(Kind(), {"name": "n"}, name="kind").text == "n"
    assert called(functools.partial(where, "held")).text == "held True"
    assert called(lambda: where("late"), name="late").text == "late True"


def test_plain_functions_block_nothing_and_see_the_context():
    word = ContextVar("word")
    together = threading.Barrier(8, timeout=20)  # passed only if all eight run at once

    def slow() -> str:
        together.wait()
        return word.get()

    async def both() -> list[ToolResult]:
        word.set("seen")
        tool = as_tool(slow)
        return await asyncio.gather(*(tool.call("") for _ in range(8)))

    assert [result.text for result in asyncio.run(both())] == ["seen"] * 8


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_call_that_hangs_is_given_up(kind):
    release = threading.Event()

    def hang() -> str:
        release.wait(20)
        return "late"

    async def sleep() -> None:
        await asyncio.sleep(20)

    begun = time.monotonic()
    result = called(hang if kind == "sync" else sleep, seconds=0.05)
    release.set()
    assert result == ToolResult(text="error: the call took longer than 0.05 s", is_error=True)
    assert time.monotonic() - begun < 5


def test_a_time_out_of_the_functions_own_is_told_as_such():
    def fail() -> None:
        raise TimeoutError("the station did not answer")

    assert called(fail).text == "error: TimeoutError: the station did not answer"


def test_methods_partials_and_positional_only():
    class Shop:
        def sell(self, what: str, /, count: int = 1, *, gift: bool = False) -> str:
            """Sell."""
            return f"{what} {count} {gift}"

    assert called(Shop().sell, {"what": "tea", "gift": True}).text == "tea 1 True"
    partial = functools.partial(Shop().sell, count=7)
    assert list(as_tool(partial).spec.parameters["properties"]) == ["what", "gift"]
    assert called(partial, {"what": "tea"}).text == "tea 7 False"
    assert as_tool(partial).spec.name == "functions.sell"


def test_names_that_pydantic_reserves_are_plain_arguments():
    def odd(model_config: int, _x: int, schema: str, json: str = "j") -> str:
        return f"{model_config} {_x} {schema} {json}"

    assert called(odd, {"model_config": 1, "_x": 2, "schema": "s"}).text == "1 2 s j"


def test_a_default_that_is_no_json_is_not_shown():
    def take(where: str = object(), when: int | None = None) -> str:
        return "taken"

    assert called(take).text == "taken"
    assert as_tool(take).spec.parameters["properties"] == {
        "where": {"type": "string"},
        "when": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
    }


def test_descriptions_in_hints_come_before_the_docstring():
    def take(a: Annotated[int, Field(description="of the hint")], b: Annotated[int, "too"]) -> str:
        """Take.

        Args:
            a: of the docstring
            b: of the docstring
        """
        return ""

    properties = as_tool(take).spec.parameters["properties"]
    assert [each["description"] for each in properties.values()] == ["of the hint", "too"]


def unhinted(city): ...
def many(*cities: str): ...
def named(**cities: str): ...
def lost(city: "Nowhere"): ...  # noqa: F821
def no_json(city: object()): ...
def callback(then: type(lambda: 0)): ...


class Endless(BaseModel):
    inner: "Endless | None" = None


def endless(tree: Endless): ...


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (unhinted, "parameter city of function unhinted has no type hint"),
        (many, r"function many takes \*cities: str"),
        (named, r"function named takes \*\*cities: str"),
        (lost, "hints of function lost cannot be read: name 'Nowhere'"),
        (no_json, "function no_json has a type hint that has no JSON form"),
        (callback, "function callback has a type hint that has no JSON form"),
        (endless, "refers to itself"),
        (Place, "tool Place is a type; give a function"),
        (3, "tool int is a int; give a function"),
        (lambda: 0, "the name of a function is '<lambda>'"),
        (dict.fromkeys, "fromkeys"),
        (max, "function max has no signature"),
    ],
)
def test_what_cannot_be_told_is_refused_at_once(function, message):
    with pytest.raises(RequestError, match=message):
        as_tool(function)


GOOGLE = """Add numbers.

    More words: here.

    Args:
        a: the first,
            on two lines
        b (int, optional): the second

        *rest: all others
        and a line that is none

    Returns:
        int: the sum

    Words after it.
    """
NUMPY = """Add numbers.

    More words: here.

    Parameters
    ----------
    a : int
        the first,
        on two lines
    b, c : int, optional
        both

        of them
    (odd)

    Returns
    -------
    int
        the sum
    """
REST = """Add numbers.

    More words: here.

    :param a: the first,
        on two lines
    :param int b: the second
    :type b: int
    :returns: the sum
    :rtype: int
    """


@pytest.mark.parametrize(
    ("text", "after", "arguments"),
    [
        (
            GOOGLE,
            "\n\nWords after it.",
            {"a": "the first, on two lines", "b": "the second", "rest": "all others"},
        ),
        (NUMPY, "", {"a": "the first, on two lines", "b": "both of them", "c": "both of them"}),
        (REST, "", {"a": "the first, on two lines", "b": "the second"}),
    ],
    ids=["google", "numpy", "rest"],
)
def test_takes_each_style_apart(text, after, arguments):
    assert read_docstring(text) == Docstring(f"Add numbers.\n\nMore words: here.{after}", arguments)


@pytest.mark.parametrize(
    "text",
    ["", "Add.", "Add.\n\nSome words:\n    stay as they are", "Usage\n-----\nCall it.", ":) smile"],
)
def test_text_of_no_style_is_all_description(text):
    assert read_docstring(text) == Docstring(text, {})


@given(st.text(alphabet="Args:\n -ab(*,):param "))
def test_never_raises(text):
    assert read_docstring(text).arguments is not None


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
