"""The measures of the guard, on small counts."""

import asyncio

import pytest

from benchmarks.guard import crowd, guard_microseconds, key_ring, leak, leaky_find, welch_t


def test_equal_samples_are_not_apart_and_others_are():
    assert welch_t([1, 2, 3, 4], [1, 2, 3, 4]) == 0
    assert welch_t([1, 2, 3, 4], [11, 12, 13, 14]) == pytest.approx(-10.954, abs=0.001)


def test_a_wrong_key_does_not_tell_how_wrong_it_is():
    """The best of some rounds: chance may move one of them, a leak moves all."""
    ring, right = key_ring(8)
    assert abs(leak(leaky_find(right), right, 1000, 0)) > 20
    assert min(abs(leak(ring.find, right, 1000, seed)) for seed in range(5)) < 4


def test_the_guard_costs_less_than_a_millisecond():
    guarded, bare = asyncio.run(guard_microseconds(200))
    assert bare < guarded < 1000


def test_a_silent_crowd_shuts_nobody_out():
    found = crowd(600)
    assert found["answered"] == found["asked"]
    assert found["exit_status"] == 0
    assert found["grown_mib"] < 64
