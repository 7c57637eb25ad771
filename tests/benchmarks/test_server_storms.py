"""The storms of `benchmarks.server_storms`, small."""

import random

import pytest

from benchmarks.server_storms import disconnects, engine_kills, kills


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_readers_that_vanish_leave_nothing_behind():
    found = disconnects(300, random.Random(0))
    assert found["canaries_right"] == found["canaries"] > 0
    assert found["engine_restarts"] == 0
    before, after = found["descriptors"]
    assert after <= before + 2


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_what_was_acknowledged_outlives_kills():
    found = kills(2, random.Random(0))
    assert found["acknowledged"] > 0
    assert (found["lost"], found["altered"], found["left_in_progress"]) == (0, 0, 0)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_every_stream_over_a_death_ends_with_an_event():
    found = engine_kills(2, random.Random(0))
    assert found["ended_with_a_terminal_event"] == found["streams"] == 16
