"""The shortlist chooses what exact scores would choose."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ossia.engine.approximate_sampler import choose_from, shortlisted
from ossia.engine.request import SamplingParams
from ossia.engine.sampler import choose

SIZE = 20_000


class Given:
    """Scores that are known, and a count of what was asked exactly."""

    def __init__(self, exact_V, error=0.1, seed=0):
        noise_V = np.random.default_rng(seed).standard_normal(len(exact_V)).astype(np.float32)
        self._exact_V = exact_V.astype(np.float32)
        self.approximate_V = self._exact_V + np.float32(error) * noise_V
        self.size, self.asked, self.whole = len(exact_V), 0, 0

    @property
    def exact_V(self):
        self.whole += 1
        return self._exact_V

    def exact_ids(self, id_N):
        self.asked += len(id_N)
        return self._exact_V[id_N]


def normal(seed=0, size=SIZE):
    return np.random.default_rng(seed).standard_normal(size).astype(np.float32) * 3


def pick(scores, *, allowed=None, prompt=(), written=None, seed=0, by=choose_from, **params):
    return by(
        scores,
        SamplingParams(**params),
        allowed=allowed,
        prompt=prompt,
        written=written or {},
        generator=np.random.default_rng(seed),
    )


@given(seed=st.integers(0, 2**32 - 1), error=st.sampled_from([0.0, 0.05, 0.3, 1.0, 5.0]))
def test_temperature_zero_takes_the_same_id(seed, error):
    exact_V = normal(seed)
    scores = Given(exact_V, error, seed)
    expected = pick(exact_V, by=choose, temperature=0)
    assert pick(scores, temperature=0) == expected


def test_a_trusted_shortlist_asks_for_few():
    scores = Given(normal())
    pick(scores, temperature=0)
    assert 30 < scores.asked < 600
    assert scores.whole == 0


def test_large_errors_ask_for_all():
    scores = Given(normal(), error=2.0)
    pick(scores, temperature=0)
    assert scores.whole == 1


@pytest.mark.parametrize("seed", range(40))
def test_draws_are_those_of_exact_scores(seed):
    exact_V = normal(3)
    scores = Given(exact_V, error=1e-4)  # so small that no draw falls between two ids
    assert pick(scores, seed=seed) == pick(exact_V, seed=seed, by=choose)


def test_draws_outside_the_shortlist_are_decided_exactly():
    exact_V = normal(1) / 10  # nearly even: most of the mass is in the tail
    scores = Given(exact_V, error=0.001)
    found = [pick(scores, seed=seed).token_id for seed in range(50)]
    assert scores.whole > 25
    assert found == [pick(exact_V, seed=seed, by=choose).token_id for seed in range(50)]


def test_shares_are_those_of_exact_scores():
    exact_V = normal(5)
    scores = Given(exact_V)
    counts = Counter(pick(scores, seed=seed, temperature=0.5).token_id for seed in range(1500))
    weight_V = np.exp((exact_V - exact_V.max()) / 0.5, dtype=np.float64)
    share_V = weight_V / weight_V.sum()
    for token_id in np.argsort(-share_V)[:5]:
        # one sigma of 1,500 draws is at most 0.013
        assert abs(counts[int(token_id)] / 1500 - share_V[token_id]) < 0.055


def test_log_probabilities_come_from_all_scores():
    exact_V = normal()
    scores = Given(exact_V)
    assert pick(scores, temperature=0, logprobs=3) == pick(
        exact_V, by=choose, temperature=0, logprobs=3
    )
    assert scores.asked == 0


@pytest.mark.parametrize("count", [1, 40, 200, 9000])
def test_a_mask_applies_before_the_shortlist(count):
    exact_V = normal(2)
    mask_V = np.zeros(SIZE, bool)
    mask_V[np.argsort(exact_V)[:count]] = True  # the least likely
    scores = Given(exact_V, error=0.01)
    expected = pick(exact_V, allowed=mask_V, by=choose, temperature=0)
    assert pick(scores, allowed=mask_V, temperature=0) == expected
    assert scores.whole <= (count > 128)


def test_a_few_legal_ids_are_scored_alone():
    exact_V = normal(2)
    scores = Given(exact_V)
    allowed = (5, 17, 19_999)
    expected = pick(exact_V, allowed=allowed, by=choose, temperature=0)
    assert pick(scores, allowed=allowed, temperature=0) == expected
    assert (scores.asked, scores.whole) == (3, 0)


def test_penalties_and_bias_apply_before_the_shortlist():
    exact_V = normal(4)
    best = int(exact_V.argmax())
    unlikely = int(exact_V.argmin())
    for params in (
        {"logit_bias": {unlikely: 100.0}},
        {"logit_bias": {best: -100.0}},
        {"frequency_penalty": 2.0},
        {"repetition_penalty": 1.5},
    ):
        given_here = dict(written={best: 3}, prompt=(best,), temperature=0, **params)
        expected = pick(exact_V, by=choose, **given_here)
        assert pick(Given(exact_V, error=0.02), **given_here) == expected


def test_scores_that_are_no_numbers_are_told():
    with pytest.raises(FloatingPointError):
        pick(Given(np.full(SIZE, np.nan)), temperature=0)
    one = normal()
    one[7] = np.nan
    with pytest.raises(FloatingPointError):
        pick(Given(one), temperature=0)


def test_even_scores_are_all_scored():
    scores = Given(np.zeros(SIZE), error=0.0)
    assert pick(scores, temperature=0).token_id == 0
    assert scores.whole == 1


def test_without_a_scan_all_are_scored():
    scores = Given(normal())
    scores.approximate_V = None
    logits_V, id_N = shortlisted(scores, SamplingParams(), None, (), {})
    assert id_N is None
    assert logits_V is not None
    assert pick(scores, temperature=0) == pick(normal(), by=choose, temperature=0)
