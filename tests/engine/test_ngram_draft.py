import pytest
from hypothesis import given
from hypothesis import strategies as st

from ossia.engine.ngram_draft import FIRST, MATCH, MOST, PAUSE, PROBE, Gate, Guesser, Lookup, Pace

RUN = list(range(100, 100 + MATCH))


def test_guesses_what_followed_the_same_tokens_before():
    assert Lookup().guess([*RUN, 1, 2, 3, *RUN], 2) == [1, 2]


def test_guesses_what_followed_them_last():
    assert Lookup().guess([*RUN, 1, *RUN, 2, *RUN], 1) == [2]


def test_guesses_nothing_after_a_shorter_match():
    assert Lookup().guess([*RUN, 1, 0, *RUN[1:]], 4) == []
    assert Lookup().guess(RUN[1:], 4) == []


def test_what_repeats_itself_is_guessed_to_go_on():
    assert Lookup().guess([7] * (MATCH + 1), 3) == [7, 7, 7]
    assert Lookup().guess([1, 2, 3] * 5, 7) == [1, 2, 3, 1, 2, 3, 1]


@given(st.lists(st.integers(0, 1), max_size=60), st.integers(1, 12))
def test_a_growing_text_is_guessed_as_one_read_at_once(tokens, count):
    lookup = Lookup()
    for end in range(len(tokens) + 1):
        assert lookup.guess(tokens[:end], count) == Lookup().guess(tokens[:end], count)


@given(st.lists(st.integers(0, 1), min_size=MATCH, max_size=40))
def test_a_guess_is_found_whenever_there_is_a_match(tokens):
    last = tokens[-MATCH:]
    ends = [end for end in range(MATCH, len(tokens)) if tokens[end - MATCH : end] == last]
    guess = Lookup().guess(tokens, 1)
    assert guess == ([tokens[ends[-1]]] if ends else [])


def opened():
    gate = Gate()
    gate.wrote(2)
    return gate


def test_the_first_tokens_are_written_without_guesses():
    gate = Gate()
    assert not gate.is_open
    gate.wrote(2)
    assert gate.is_open


def test_two_attempts_that_come_to_nothing_close_the_gate_for_a_while():
    gate = opened()
    for _ in range(2):
        assert gate.is_open
        gate.tried(guesses=4, true=0, gain=1.0, cost=1.8)
    assert not gate.is_open
    gate.wrote(PAUSE - 1)
    assert not gate.is_open
    gate.wrote(1)
    assert gate.is_open


def test_guesses_that_come_true_keep_it_open_and_grow():
    gate = opened()
    assert gate.length == FIRST
    for _ in range(5):
        gate.tried(guesses=gate.length, true=gate.length, gain=1.0 + gate.length, cost=2.0)
    assert gate.is_open
    assert gate.length == MOST
    gate.tried(guesses=MOST, true=5, gain=6.0, cost=2.0)
    assert gate.length == 6


def test_what_comes_true_but_takes_too_long_closes_it_too():
    gate = opened()
    for _ in range(6):
        gate.tried(guesses=1, true=1, gain=2.0, cost=2.0)
    assert not gate.is_open


def test_now_and_then_one_token_is_written_without_guesses():
    gate = opened()
    for _ in range(PROBE):
        assert gate.is_open
        gate.tried(guesses=4, true=4, gain=5.0, cost=2.0)
    assert not gate.is_open
    gate.wrote(1)
    assert gate.is_open


def test_the_cost_is_counted_in_steps_without_guesses():
    pace = Pace()
    assert pace.cost(1, 3.0) == 1.0
    pace.measured(1, 2.0)
    assert pace.cost(1, 3.0) == 1.5
    assert pace.cost(2, 3.0) == 1.0
    assert pace.cost(1, 1.0) == 1.0
    pace.measured(1, 3.0)
    assert pace.cost(1, 4.6) == pytest.approx(2.0)
    pace.measured(2, 0.0)  # a clock too coarse for it
    assert pace.cost(2, 0.0) == 1.0


def test_a_closed_gate_and_no_room_ask_for_nothing():
    guesser = Guesser()
    assert guesser.guess([7] * 20, 4) == []
    guesser.gate.wrote(2)
    assert guesser.guess([7] * 20, 0) == []
    assert guesser.guess([7] * 20, 3) == [7, 7, 7]
