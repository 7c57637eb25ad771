import pytest
from hypothesis import given
from hypothesis import strategies as st

from ossia.engine.ngram_draft import (
    FIRST_DRAFT,
    MAX_DRAFT,
    NGRAM,
    PAUSE,
    PROBE,
    DecodeTimes,
    NgramIndex,
    NgramProposer,
    SpeculationPolicy,
)

RUN = list(range(100, 100 + NGRAM))


def test_proposes_what_followed_the_same_tokens_before():
    assert NgramIndex().propose([*RUN, 1, 2, 3, *RUN], 2) == [1, 2]


def test_proposes_what_followed_them_last():
    assert NgramIndex().propose([*RUN, 1, *RUN, 2, *RUN], 1) == [2]


def test_proposes_nothing_after_a_shorter_match():
    assert NgramIndex().propose([*RUN, 1, 0, *RUN[1:]], 4) == []
    assert NgramIndex().propose(RUN[1:], 4) == []


def test_what_repeats_itself_is_proposed_to_go_on():
    assert NgramIndex().propose([7] * (NGRAM + 1), 3) == [7, 7, 7]
    assert NgramIndex().propose([1, 2, 3] * 5, 7) == [1, 2, 3, 1, 2, 3, 1]


@given(st.lists(st.integers(0, 1), max_size=60), st.integers(1, 12))
def test_a_growing_text_is_continued_as_one_read_at_once(tokens, count):
    index = NgramIndex()
    for end in range(len(tokens) + 1):
        assert index.propose(tokens[:end], count) == NgramIndex().propose(tokens[:end], count)


@given(st.lists(st.integers(0, 1), min_size=NGRAM, max_size=40))
def test_a_draft_is_found_whenever_there_is_a_match(tokens):
    last = tokens[-NGRAM:]
    ends = [end for end in range(NGRAM, len(tokens)) if tokens[end - NGRAM : end] == last]
    propose = NgramIndex().propose(tokens, 1)
    assert propose == ([tokens[ends[-1]]] if ends else [])


def opened():
    policy = SpeculationPolicy()
    policy.count_tokens(2)
    return policy


def test_the_first_tokens_are_written_without_drafts():
    policy = SpeculationPolicy()
    assert not policy.should_draft
    policy.count_tokens(2)
    assert policy.should_draft


def test_two_attempts_that_come_to_nothing_stop_drafting_for_a_while():
    policy = opened()
    for _ in range(2):
        assert policy.should_draft
        policy.update(num_draft=4, num_accepted=0, gain=1.0, cost=1.8)
    assert not policy.should_draft
    policy.count_tokens(PAUSE - 1)
    assert not policy.should_draft
    policy.count_tokens(1)
    assert policy.should_draft


def test_accepted_drafts_keep_it_on_and_grow():
    policy = opened()
    assert policy.num_draft_tokens == FIRST_DRAFT
    for _ in range(5):
        policy.update(
            num_draft=policy.num_draft_tokens,
            num_accepted=policy.num_draft_tokens,
            gain=1.0 + policy.num_draft_tokens,
            cost=2.0,
        )
    assert policy.should_draft
    assert policy.num_draft_tokens == MAX_DRAFT
    policy.update(num_draft=MAX_DRAFT, num_accepted=5, gain=6.0, cost=2.0)
    assert policy.num_draft_tokens == 6


def test_what_is_accepted_but_takes_too_long_stops_it_too():
    policy = opened()
    for _ in range(6):
        policy.update(num_draft=1, num_accepted=1, gain=2.0, cost=2.0)
    assert not policy.should_draft


def test_now_and_then_one_token_is_written_without_drafts():
    policy = opened()
    for _ in range(PROBE):
        assert policy.should_draft
        policy.update(num_draft=4, num_accepted=4, gain=5.0, cost=2.0)
    assert not policy.should_draft
    policy.count_tokens(1)
    assert policy.should_draft


def test_the_cost_is_counted_in_steps_without_drafts():
    times = DecodeTimes()
    assert times.slowdown(1, 3.0) == 1.0
    times.record(1, 2.0)
    assert times.slowdown(1, 3.0) == 1.5
    assert times.slowdown(2, 3.0) == 1.0
    assert times.slowdown(1, 1.0) == 1.0
    times.record(1, 3.0)
    assert times.slowdown(1, 4.6) == pytest.approx(2.0)
    times.record(2, 0.0)  # a clock too coarse for it
    assert times.slowdown(2, 0.0) == 1.0


def test_a_policy_that_waits_and_no_room_propose_nothing():
    proposer = NgramProposer()
    assert proposer.propose([7] * 20, 4) == []
    proposer.policy.count_tokens(2)
    assert proposer.propose([7] * 20, 0) == []
    assert proposer.propose([7] * 20, 3) == [7, 7, 7]
