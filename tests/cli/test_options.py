"""Shared options: read once, defined once."""

from dataclasses import dataclass, fields
from typing import Annotated

import pytest
import typer

from ossia.cli.options import PromptOptions, SamplingOptions, settings, spread, tokens
from ossia.engine.request import SAMPLING_FIELDS, SamplingParams


@pytest.mark.parametrize(
    ("text", "count"), [("1", 1), ("4096", 4096), ("8k", 8192), ("8K", 8192), ("1m", 2**20)]
)
def test_numbers_of_tokens(text, count):
    assert tokens(text) == count


@pytest.mark.parametrize("text", ["", "k", "0", "-1", "1.5k", "8kb", "²", "9" * 5000, "4g", " 8"])
def test_what_is_no_number_of_tokens(text):
    with pytest.raises(typer.BadParameter, match="expected one like 4096 or 8k"):
        tokens(text)


def test_what_was_not_given_is_left_to_the_library():
    assert SamplingOptions().params() == SamplingParams()
    assert PromptOptions().set_values() == {}


def test_what_was_given_arrives():
    sampling = SamplingOptions(temperature=0.0, top_k=3, seed=0, stop=["a"], max_tokens=9)
    assert sampling.params() == SamplingParams(
        temperature=0.0, top_k=3, seed=0, stop=["a"], max_tokens=9
    )
    values = PromptOptions(effort="low", system="s", max_analysis_tokens=0).set_values()
    assert values == {"effort": "low", "instructions": "s", "max_analysis_tokens": 0}


def test_every_sampling_parameter_that_can_be_typed_is_an_option():
    typed = {name for name, each in SAMPLING_FIELDS.items() if each.shape != "table"}
    assert {each.name for each in fields(SamplingOptions)} == typed - {"logprobs"}


def test_a_command_sees_the_fields_of_its_groups_as_options():
    @dataclass(frozen=True, kw_only=True)
    class Group:
        size: Annotated[int, typer.Option(help="how large")] = 1

    seen = []

    @spread
    def command(*, group: Group, name: Annotated[str, typer.Option()] = "x") -> None:
        seen.append((group, name))

    app = typer.Typer()
    app.command()(command)
    app(["--size", "7"], standalone_mode=False)
    assert seen == [(Group(size=7), "x")]


def test_settings_say_where_they_come_from():
    found = {each.variable: each for each in settings({"OSSIA_THREADS": "3", "OSSIA_ISA": ""})}
    assert (found["OSSIA_THREADS"].value, found["OSSIA_THREADS"].origin) == ("3", "environment")
    assert (found["OSSIA_ISA"].value, found["OSSIA_ISA"].origin) == ("auto", "default")
    assert found["OSSIA_MODEL"].value == "nano"
    assert "OSSIA_HOME" in found
