from collections import Counter

import numpy as np
import pytest

from ossia.engine.request import SamplingParams
from ossia.engine.sampler import sample

LOGITS = np.array([0.0, 2.0, 1.0, -1.0], np.float32)


def pick(logits=LOGITS, *, allowed=None, prompt=(), output_token_counts=None, seed=0, **params):
    return sample(
        np.asarray(logits, np.float32),
        SamplingParams(**params),
        allowed=allowed,
        prompt=prompt,
        output_token_counts=output_token_counts or {},
        generator=np.random.default_rng(seed),
    )


def shares(draws=4000, **params):
    generator = np.random.default_rng(1)
    counts = Counter(
        sample(
            LOGITS,
            SamplingParams(**params),
            allowed=params.pop("allowed", None),
            prompt=(),
            output_token_counts={},
            generator=generator,
        ).token_id
        for _ in range(draws)
    )
    return np.array([counts[each] for each in range(4)]) / draws


def softmax(x):
    e = np.exp(np.asarray(x, float))
    return e / e.sum()


def test_temperature_zero_takes_the_likeliest():
    assert pick(temperature=0).token_id == 1


@pytest.mark.parametrize("temperature", [5e-324, 1e-300, 1e-9, 9.9e-6])
def test_a_temperature_of_nearly_nothing_takes_the_likeliest(temperature):
    close = [0.0, 1.0, np.nextafter(np.float32(1), np.float32(0))]
    choices = {pick(close, temperature=temperature, seed=seed).token_id for seed in range(20)}
    assert choices == {1}
    cold = pick(close, temperature=temperature, logprobs=1)
    assert cold == pick(close, temperature=0, logprobs=1)


def test_the_least_temperature_draws():
    drawn = {pick([0.0, 0.0], temperature=1e-5, seed=seed).token_id for seed in range(20)}
    assert drawn == {0, 1}


def test_draws_as_often_as_the_softmax_says():
    # 4,000 draws: a share is off by 0.008 at one sigma
    np.testing.assert_allclose(shares(), softmax(LOGITS), atol=0.035)


def test_temperature_flattens():
    np.testing.assert_allclose(shares(temperature=2.0), softmax(LOGITS / 2), atol=0.035)


def test_top_k_keeps_that_many():
    drawn = shares(top_k=2)
    assert drawn[0] == drawn[3] == 0
    np.testing.assert_allclose(drawn[1], softmax([2, 1])[0], atol=0.035)


def test_top_p_keeps_the_fewest_that_reach_it():
    p = softmax(LOGITS)  # 0.087 0.644 0.237 0.032
    assert (shares(top_p=float(p[1] - 0.01)) > 0).tolist() == [False, True, False, False]
    assert (shares(top_p=float(p[1] + 0.01)) > 0).tolist() == [False, True, True, False]


def test_min_p_drops_what_is_unlikely_beside_the_likeliest():
    # relative to the likeliest: 0.135 1 0.368 0.0498
    assert (shares(min_p=0.2) > 0).tolist() == [False, True, True, False]


def test_the_same_seed_draws_the_same():
    assert [pick(seed=5).token_id for _ in range(5)] == [pick(seed=5).token_id] * 5


def test_only_what_is_allowed_is_chosen():
    assert pick(allowed=(0, 3), temperature=0).token_id == 0
    mask = np.array([False, False, True, True])
    assert pick(allowed=mask, temperature=0).token_id == 2
    assert {pick(allowed=mask, seed=seed).token_id for seed in range(50)} == {2, 3}


def test_penalties_count_what_was_written():
    assert pick(temperature=0, presence_penalty=1.5, output_token_counts={1: 1}).token_id == 2
    assert pick(temperature=0, frequency_penalty=0.5, output_token_counts={1: 1}).token_id == 1
    assert pick(temperature=0, frequency_penalty=0.5, output_token_counts={1: 3}).token_id == 2


def test_the_repetition_penalty_counts_the_prompt_too():
    assert pick(temperature=0, repetition_penalty=3.0, prompt=(1,)).token_id == 2
    assert pick([-1.0, -1.1], temperature=0, repetition_penalty=2.0, prompt=(0,)).token_id == 1


def test_a_bias_is_added():
    assert pick(temperature=0, logit_bias={3: 10}).token_id == 3


def test_the_logits_are_not_modified():
    before = LOGITS.copy()
    pick(
        logit_bias={3: 10},
        presence_penalty=1,
        output_token_counts={0: 1},
        repetition_penalty=2,
        prompt=(1,),
    )
    np.testing.assert_array_equal(LOGITS, before)


def test_logprobs_are_of_the_distribution_sampled_from():
    sampled = pick(temperature=0, logprobs=2)
    expected = np.log(softmax(LOGITS))
    assert sampled.logprob == pytest.approx(expected[1], abs=1e-6)
    assert [each for each, _ in sampled.top] == [1, 2]
    warm = pick(temperature=2.0, logprobs=4, seed=3)
    assert dict(warm.top)[0] == pytest.approx(np.log(softmax(LOGITS / 2))[0], abs=1e-6)


def test_logprobs_under_a_mask_know_only_what_is_allowed():
    sampled = pick(allowed=(0, 3), temperature=0, logprobs=4)
    assert [each for each, _ in sampled.top] == [0, 3]
    assert np.exp([logprob for _, logprob in sampled.top]).sum() == pytest.approx(1, abs=1e-6)


def test_damaged_scores_are_refused_aloud():
    with pytest.raises(FloatingPointError):
        pick([np.nan, 0.0])


def test_a_uniform_draw_never_lands_on_weight_zero():
    logits = np.full(1000, -np.inf, np.float32)
    logits[[3, 500]] = 0
    assert {pick(logits, seed=seed).token_id for seed in range(40)} == {3, 500}
