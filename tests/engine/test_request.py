import pytest

from ossia.engine.request import SamplingParams
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
