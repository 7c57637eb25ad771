from dataclasses import fields

import pytest

from ossia.engine.request import SAMPLING_FIELDS, SamplingParams
from ossia.errors import RequestError


def test_the_defaults_are_those_advised_for_gpt_oss():
    params = SamplingParams()
    assert (params.temperature, params.top_p, params.top_k, params.min_p) == (1.0, 1.0, None, 0.0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", -0.1),
        ("temperature", 2.1),
        ("temperature", float("nan")),
        ("temperature", "1"),
        ("temperature", True),
        ("top_p", 0),
        ("top_p", 1.01),
        ("min_p", -1),
        ("top_k", 0),
        ("top_k", 1.5),
        ("max_tokens", 0),
        ("logprobs", 21),
        ("seed", 2**63),
        ("presence_penalty", 3),
        ("frequency_penalty", float("inf")),
        ("repetition_penalty", 0),
        ("logit_bias", {1: 101}),
        ("logit_bias", {-1: 1}),
        ("logit_bias", dict.fromkeys(range(1025), 1.0)),
        ("stop", "one string"),
        ("stop", [""]),
        ("stop", ["x"] * 17),
        ("stop", [7]),
        ("stop_token_ids", ["a"]),
    ],
)
def test_refuses_what_no_sampler_could_honour(name, value):
    with pytest.raises(RequestError, match=name.split("_")[0]):
        SamplingParams(**{name: value})


def test_every_parameter_is_listed_with_what_an_option_needs():
    assert list(SAMPLING_FIELDS) == [each.name for each in fields(SamplingParams)]
    for name, each in SAMPLING_FIELDS.items():
        assert each.name == name
        assert each.type in (int, float, str)
        assert each.help.endswith(".")
        assert each.bounds.keys() in ({"ge", "le"}, {"gt", "le"}) or each.type is str
        assert getattr(SamplingParams(), name) == (each.default if each.shape != "table" else {})


@pytest.mark.parametrize(
    ("name", "kind", "shape", "default", "bounds"),
    [
        ("temperature", float, "value", 1.0, {"ge": 0.0, "le": 2.0}),
        ("top_p", float, "value", 1.0, {"gt": 0.0, "le": 1.0}),
        ("top_k", int, "value", None, {"ge": 1, "le": 2**31 - 1}),
        ("logit_bias", float, "table", None, {"ge": -100.0, "le": 100.0}),
        ("stop", str, "list", (), {}),
        ("stop_token_ids", int, "list", (), {"ge": 0, "le": 2**31 - 1}),
    ],
)
def test_a_listed_parameter_has_its_type_and_bounds(name, kind, shape, default, bounds):
    each = SAMPLING_FIELDS[name]
    assert (each.type, each.shape, each.default) == (kind, shape, default)
    assert dict(each.bounds) == bounds


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("top_p", 0, "top_p is 0; it must be a number above 0, up to 1"),
        ("temperature", 3, "temperature is 3; it must be a number from 0 to 2"),
        ("top_k", 0, "top_k is 0; it must be a whole number from 1 to 2147483647"),
        ("logit_bias", {7: 101}, "logit_bias of token 7 is 101; it must be a number from -100 to"),
        ("logit_bias", {-1: 1}, "a logit_bias key is -1; it must be a whole number from 0 to"),
        ("stop_token_ids", ["a"], "a stop token id is 'a'; it must be a whole number from 0 to"),
    ],
)
def test_a_refusal_names_the_value_and_the_bounds(name, value, message):
    with pytest.raises(RequestError) as refused:
        SamplingParams(**{name: value})
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize("name", [name for name, each in SAMPLING_FIELDS.items() if each.bounds])
def test_both_ends_of_the_bounds_are_taken(name):
    each = SAMPLING_FIELDS[name]
    for value in (each.bounds.get("ge", each.bounds["le"]), each.bounds["le"]):
        shaped = {"value": value, "list": [value], "table": {7: value}}[each.shape]
        assert getattr(SamplingParams(**{name: shaped}), name) == shaped
