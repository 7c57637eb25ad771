import pytest

from ossia.evals.wilson import wilson


def test_the_interval_is_the_one_of_the_tables():
    low, high = wilson(8, 10)
    assert (low, high) == (pytest.approx(0.490, abs=1e-3), pytest.approx(0.943, abs=1e-3))


def test_nothing_counted_says_nothing():
    assert wilson(0, 0) == (0.0, 1.0)


def test_the_share_lies_inside_and_never_beyond_certainty():
    for right in (0, 1, 250, 499, 500):
        low, high = wilson(right, 500)
        assert 0 <= low <= right / 500 + 1e-12
        assert right / 500 - 1e-12 <= high <= 1
