"""Each shared field has one type and bounds; null is absent; nothing is passed on unseen."""

import math
from typing import Any

import pytest
from pydantic import ValidationError

from ossia.engine.request import SamplingParams
from ossia.errors import RequestError
from ossia.server.api.fields import (
    Effort,
    Form,
    LogitBias,
    MaxTokens,
    Metadata,
    SamplingFields,
    Unused,
    day,
    effort_of,
    ignored,
    ignored_header,
)
from ossia.server.api.validation import refusal
from tests.server.scripted import served_model


class ExampleForm(SamplingFields):
    max_tokens: MaxTokens | None = None
    metadata: Metadata | None = None
    effort: Effort | None = None
    tier: Unused[str] = None
    parts: list[SamplingFields] | None = None
    free: dict[str, Any] | None = None


def params_of(document: dict[str, Any], **more: Any) -> SamplingParams:
    others = {"max_tokens": None, "logprobs": None, "model": served_model(), **more}
    return SamplingFields.model_validate(document).to_sampling_params(**others)


BAD: list[tuple[str, Any, str]] = [
    *[("temperature", bad, "") for bad in (-0.1, 2.1, "1", True, math.nan, math.inf, 10**400, [])],
    *[("top_p", bad, "") for bad in (0, 1.1, -1, "1", False, math.nan)],
    *[("top_k", bad, "") for bad in (0, -1, 1.5, 2**31, "5", True)],
    *[("min_p", bad, "") for bad in (-0.1, 1.1, "0", math.nan)],
    *[("presence_penalty", bad, "") for bad in (-2.1, 2.1, "0", math.nan)],
    *[("frequency_penalty", bad, "") for bad in (-2.1, 2.1, None.__class__, math.inf)],
    *[("seed", bad, "") for bad in (2**63, -(2**63) - 1, 1.0, "1", True)],
    *[("max_tokens", bad, "") for bad in (0, -1, 2**31, 2**63, 1.5, "5", True)],
    *[("stop", bad, "") for bad in (7, "", "a" * 257, ["a"] * 5, ["a"] * 10_000, {})],
    ("stop", ["a", ""], "[1]"),
    ("stop", ["é" * 129], "[0]"),
    ("stop", ["a", 5], "[1]"),
    ("logit_bias", {"-1": 1}, ".-1"),
    ("logit_bias", {"abc": 1}, ".abc"),
    ("logit_bias", {"1.5": 1}, "."),
    ("logit_bias", {"5": math.nan}, ".5"),
    ("logit_bias", {"5": 1e308}, ".5"),
    ("logit_bias", {"5": "1"}, ".5"),
    ("logit_bias", {str(each): 1 for each in range(100_000)}, ""),
    ("logit_bias", [], ""),
    ("metadata", {str(each): "" for each in range(17)}, ""),
    ("metadata", {"a": "b" * 513}, ".a"),
    ("metadata", {"a": 5}, ".a"),
    ("metadata", {"k" * 65: "b"}, "."),
    ("effort", "extreme", ""),
    ("effort", 3, ""),
    ("tier", 5, ""),
    ("parts", [{}, {"seed": "x"}], "[1].seed"),
]


@pytest.mark.parametrize(("field", "value", "rest"), BAD)
def test_a_value_out_of_bounds_is_refused_by_its_path(field: str, value: Any, rest: str) -> None:
    document = {field: value}
    with pytest.raises(ValidationError) as caught:
        ExampleForm.model_validate(document)
    error = refusal(caught.value.errors(include_url=False), document)
    assert (error.param or "").startswith(field + rest)


@pytest.mark.parametrize("field", list(ExampleForm.model_fields))
def test_null_is_the_same_as_absent(field: str) -> None:
    assert ExampleForm.model_validate({field: None}) == ExampleForm()


def test_what_is_not_asked_is_openais_default() -> None:
    assert params_of({}) == SamplingParams(temperature=1.0, top_p=1.0)


def test_what_is_asked_reaches_the_sampler() -> None:
    form = {
        "temperature": 0.5,
        "top_p": 0.25,
        "top_k": 7,
        "min_p": 0.125,
        "presence_penalty": -1,
        "frequency_penalty": 2,
        "logit_bias": {"3": -100, "07": 2.5},
        "seed": -5,
        "stop": "end",
    }
    assert params_of(form, max_tokens=9, logprobs=3) == SamplingParams(
        temperature=0.5,
        top_p=0.25,
        top_k=7,
        min_p=0.125,
        presence_penalty=-1.0,
        frequency_penalty=2.0,
        logit_bias={3: -100.0, 7: 2.5},
        seed=-5,
        max_tokens=9,
        stop=("end",),
        logprobs=3,
    )


def test_several_stops_stay_in_order() -> None:
    assert params_of({"stop": ["b", "a"]}).stop == ("b", "a")
    assert params_of({"stop": []}).stop == ()


@pytest.mark.parametrize("temperature", [0, -0.0, 5e-324, 2])
def test_every_temperature_in_its_bounds_is_the_samplers_business(temperature: float) -> None:
    assert params_of({"temperature": temperature}).temperature == temperature


@pytest.mark.parametrize("token_id", [90, 99, 100, 2**31, 9_999_999_999])
def test_an_id_that_is_no_text_cannot_be_favoured(token_id: int) -> None:
    with pytest.raises(RequestError, match=f"token {token_id},") as caught:
        params_of({"logit_bias": {"5": 1, str(token_id): 1}})
    assert caught.value.param == f"logit_bias.{token_id}"


def test_the_date_is_the_day_in_utc() -> None:
    assert day(86_399.9) == "1970-01-01"
    assert day(1_795_219_200) == "2026-11-21"


def test_each_key_of_logit_bias_stays_below_the_bound() -> None:
    class Biased(Form):
        bias: LogitBias

    assert len(Biased(bias={str(each): 1.0 for each in range(1024)}).bias) == 1024
    with pytest.raises(ValidationError):
        Biased(bias={str(each): 1.0 for each in range(1025)})


@pytest.mark.parametrize(
    ("form", "effort", "may_reason"),
    [
        (None, "medium", True),
        ("none", "low", False),
        ("minimal", "low", True),
        ("low", "low", True),
        ("medium", "medium", True),
        ("high", "high", True),
        ("xhigh", "high", True),
        ("max", "high", True),
    ],
)
def test_every_effort_is_one_the_model_knows(
    form: Effort | None, effort: str, may_reason: bool
) -> None:
    assert effort_of(form) == (effort, may_reason)


def test_fields_without_meaning_are_named_with_their_paths() -> None:
    form = ExampleForm.model_validate(
        {
            "tier": "flex",
            "seed": 1,
            "free": {"inside": 1},
            "new": {},
            "gone": None,
            "parts": [{"seed": 2}, {"seed": 3, "odd": False, "bad\r\nname": 1}],
        }
    )
    assert ignored(form) == ("tier", "parts[1].odd", "new")
    assert ignored_header(ignored(form)) == {"x-ossia-ignored": "tier, parts[1].odd, new"}


def test_nothing_ignored_needs_no_header() -> None:
    assert ignored(ExampleForm(tier=None, seed=4)) == ()
    assert ignored_header(()) == {}


def test_only_so_many_ignored_fields_are_named() -> None:
    extra = {f"extra{each}": 1 for each in range(1000)}
    parts = [{"odd": 1}] * 1000
    assert len(ignored(ExampleForm.model_validate({"parts": parts, **extra}))) == 32
    assert len(ignored(ExampleForm.model_validate(extra))) == 32
