"""Approximate logits choose what exact ones would choose."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ossia.engine.approximate_sampler import refine_candidates, sample_approximate
from ossia.engine.request import SamplingParams
from ossia.engine.sampler import sample

SIZE = 20_000


class KnownLogits:
    """Logits that are known, and a count of what was computed exactly."""

    def __init__(self, exact_V, error=0.1, seed=0):
        noise_V = np.random.default_rng(seed).standard_normal(len(exact_V)).astype(np.float32)
        self._exact_V = exact_V.astype(np.float32)
        self.approximate_V = self._exact_V + np.float32(error) * noise_V
        self.size, self.num_exact, self.whole = len(exact_V), 0, 0

    @property
    def exact_V(self):
        self.whole += 1
        return self._exact_V

    def exact_ids(self, id_N):
        self.num_exact += len(id_N)
        return self._exact_V[id_N]


def normal(seed=0, size=SIZE):
    return np.random.default_rng(seed).standard_normal(size).astype(np.float32) * 3


def pick(
    logits,
    *,
    allowed=None,
    prompt=(),
    output_token_counts=None,
    seed=0,
    by=sample_approximate,
    **params,
):
    return by(
        logits,
        SamplingParams(**params),
        allowed=allowed,
        prompt=prompt,
        output_token_counts=output_token_counts or {},
        generator=np.random.default_rng(seed),
    )


@given(seed=st.integers(0, 2**32 - 1), error=st.sampled_from([0.0, 0.05, 0.3, 1.0, 5.0]))
def test_temperature_zero_takes_the_same_id(seed, error):
    exact_V = normal(seed)
    logits = KnownLogits(exact_V, error, seed)
    expected = pick(exact_V, by=sample, temperature=0)
    assert pick(logits, temperature=0) == expected


def test_trusted_candidates_are_few():
    logits = KnownLogits(normal())
    pick(logits, temperature=0)
    assert 30 < logits.num_exact < 600
    assert logits.whole == 0


def test_large_errors_ask_for_all():
    logits = KnownLogits(normal(), error=2.0)
    pick(logits, temperature=0)
    assert logits.whole == 1


@pytest.mark.parametrize("seed", range(40))
def test_draws_are_those_of_exact_scores(seed):
    exact_V = normal(3)
    logits = KnownLogits(exact_V, error=1e-4)  # so small that no draw falls between two ids
    assert pick(logits, seed=seed) == pick(exact_V, seed=seed, by=sample)


def test_draws_beside_the_candidates_are_decided_exactly():
    exact_V = normal(1) / 10  # nearly even: most of the mass is in the tail
    logits = KnownLogits(exact_V, error=0.001)
    found = [pick(logits, seed=seed).token_id for seed in range(50)]
    assert logits.whole > 25
    assert found == [pick(exact_V, seed=seed, by=sample).token_id for seed in range(50)]


def test_shares_are_those_of_exact_scores():
    exact_V = normal(5)
    logits = KnownLogits(exact_V)
    counts = Counter(pick(logits, seed=seed, temperature=0.5).token_id for seed in range(1500))
    weight_V = np.exp((exact_V - exact_V.max()) / 0.5, dtype=np.float64)
    share_V = weight_V / weight_V.sum()
    for token_id in np.argsort(-share_V)[:5]:
        # one sigma of 1,500 draws is at most 0.013
        assert abs(counts[int(token_id)] / 1500 - share_V[token_id]) < 0.055


def test_log_probabilities_come_from_all_scores():
    exact_V = normal()
    logits = KnownLogits(exact_V)
    assert pick(logits, temperature=0, logprobs=3) == pick(
        exact_V, by=sample, temperature=0, logprobs=3
    )
    assert logits.num_exact == 0


@pytest.mark.parametrize("count", [1, 40, 200, 9000])
def test_a_mask_applies_before_candidates_are_taken(count):
    exact_V = normal(2)
    mask_V = np.zeros(SIZE, bool)
    mask_V[np.argsort(exact_V)[:count]] = True  # the least likely
    logits = KnownLogits(exact_V, error=0.01)
    expected = pick(exact_V, allowed=mask_V, by=sample, temperature=0)
    assert pick(logits, allowed=mask_V, temperature=0) == expected
    assert logits.whole <= (count > 128)


def test_a_few_legal_ids_are_scored_alone():
    exact_V = normal(2)
    logits = KnownLogits(exact_V)
    allowed = (5, 17, 19_999)
    expected = pick(exact_V, allowed=allowed, by=sample, temperature=0)
    assert pick(logits, allowed=allowed, temperature=0) == expected
    assert (logits.num_exact, logits.whole) == (3, 0)


def test_penalties_and_bias_apply_before_candidates_are_taken():
    exact_V = normal(4)
    best = int(exact_V.argmax())
    unlikely = int(exact_V.argmin())
    for params in (
        {"logit_bias": {unlikely: 100.0}},
        {"logit_bias": {best: -100.0}},
        {"frequency_penalty": 2.0},
        {"repetition_penalty": 1.5},
    ):
        params_here = dict(output_token_counts={best: 3}, prompt=(best,), temperature=0, **params)
        expected = pick(exact_V, by=sample, **params_here)
        assert pick(KnownLogits(exact_V, error=0.02), **params_here) == expected


def test_logits_that_are_no_numbers_are_refused():
    with pytest.raises(FloatingPointError):
        pick(KnownLogits(np.full(SIZE, np.nan)), temperature=0)
    one = normal()
    one[7] = np.nan
    with pytest.raises(FloatingPointError):
        pick(KnownLogits(one), temperature=0)


def test_even_scores_are_all_scored():
    logits = KnownLogits(np.zeros(SIZE), error=0.0)
    assert pick(logits, temperature=0).token_id == 0
    assert logits.whole == 1


def test_without_a_scan_all_are_scored():
    logits = KnownLogits(normal())
    logits.approximate_V = None
    logits_V, id_N = refine_candidates(logits, SamplingParams(), None, (), {})
    assert id_N is None
    assert logits_V is not None
    assert pick(logits, temperature=0) == pick(normal(), by=sample, temperature=0)
