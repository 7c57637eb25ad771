import dataclasses

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ossia.ops.cpu import CpuOps

FULL = 1 << 20
LOSS = {"float32": 1e-6, "bfloat16": 3e-3, "int8": 1e-2}
"""Relative L2 bounds on normal keys and values; measured: 2.4e-3 and 8.3e-3 (docs/numerics.md)."""


@pytest.mark.parametrize("counts", [[0], [1], [5], [128], [129], [70, 0, 1, 200]])
@pytest.mark.parametrize("window", [1, 3, 128, FULL])
@pytest.mark.parametrize("heads", [(1, 1, 2), (2, 3, 6), (2, 8, 64), (1, 16, 16), (3, 1, 32)])
def test_agrees_with_the_judge(both, make, assert_near, counts, window, heads):
    attention = make.attention(sum(counts), heads, window)
    ours, law = (attention.alone(ops, counts) for ops in both)
    assert_near(ours, law)


def seen_by(ops, make, query, window):
    """Which keys the query at a position sees: values name their own position."""
    tokens = query + 3
    attention = dataclasses.replace(
        make.attention(tokens, (1, 1, 256), window),
        query_TKGC=np.zeros((tokens, 1, 1, 256), np.float32),
        value_TKC=np.eye(tokens, 256, dtype=np.float32)[:, None],
        sink_H=np.zeros(1, np.float32),
    )
    return np.flatnonzero(attention.alone(ops, [tokens])[query]).tolist()


@pytest.mark.parametrize("query", [0, 1, 126, 127, 128, 129, 200])
def test_a_window_of_128_is_128_keys_itself_included(backend, make, query):
    keys = seen_by(backend, make, query, 128)
    assert keys == list(range(max(0, query - 127), query + 1))


def test_a_full_layer_sees_all_that_came_before(backend, make):
    assert seen_by(backend, make, 200, FULL) == list(range(201))


def test_the_sink_is_a_score_without_a_value(backend, make):
    """Keys score 0, the sink log 2: it takes two thirds, then a half of the weight."""
    attention = dataclasses.replace(
        make.attention(2, (1, 1, 4), 128),
        query_TKGC=np.zeros((2, 1, 1, 4), np.float32),
        value_TKC=np.array([[[3, 6, 9, 12]], [[5, 6, 7, 8]]], np.float32),
        sink_H=np.log(np.array([2], np.float32)),
    )
    attention_TE = attention.alone(backend, [2])
    np.testing.assert_allclose(attention_TE, [[1, 2, 3, 4], [2, 3, 4, 5]], rtol=1e-6)


def test_the_sink_is_not_divided_as_scores_are(backend, make):
    """A score of 16/sqrt(16) = 4 against a sink of 4: half of the value."""
    attention = dataclasses.replace(
        make.attention(1, (1, 1, 16), 9),
        query_TKGC=np.ones((1, 1, 1, 16), np.float32),
        key_TKC=np.ones((1, 1, 16), np.float32),
        value_TKC=np.full((1, 1, 16), 6, np.float32),
        sink_H=np.full(1, 4, np.float32),
    )
    np.testing.assert_allclose(attention.alone(backend, [1]), 3, rtol=1e-6)


def test_great_scores_do_not_overflow(both, make, assert_near):
    attention = make.attention(90, (2, 2, 16), 128)
    attention = dataclasses.replace(
        attention,
        query_TKGC=attention.query_TKGC * 100,
        key_TKC=attention.key_TKC * 100,
        sink_H=attention.sink_H * 1000,
    )
    ours, law = (attention.alone(ops, [90]) for ops in both)
    assert_near(ours, law)


CUTS = [[[1] * 150], [[150]], [[100, 1, 1, 1, 40]], [[3, 60], [0, 75]]]


@pytest.mark.parametrize("page_tokens", [5, 64])
@pytest.mark.parametrize("window", [7, 64, FULL])
@pytest.mark.parametrize("chunks", CUTS)
def test_steps_on_pages_say_what_the_whole_says(
    both, make, assert_near, page_tokens, window, chunks
):
    attention = make.attention(150, (2, 2, 16), window)
    backend, judge = both
    law = attention.alone(judge, [150 // len(chunks)] * len(chunks))
    assert_near(attention.in_steps(backend, chunks, page_tokens), law)


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    chunks=st.lists(st.lists(st.integers(0, 40), max_size=5), min_size=1, max_size=3),
    window=st.integers(1, 70),
    page_tokens=st.integers(1, 33),
)
def test_any_cut_and_any_ring_will_do(both, make, chunks, window, page_tokens):
    attention = make.attention(90 * len(chunks), (1, 2, 8), window)
    backend, judge = both
    law = attention.alone(judge, [90] * len(chunks))
    ours = attention.in_steps(backend, chunks, page_tokens)
    np.testing.assert_allclose(ours, law, rtol=1e-4, atol=1e-5)


def test_a_long_past_is_read_from_pages(both, make, assert_near):
    """One token after 4,200: more than the whole window of positions that RoPE was trained on."""
    attention = make.attention(4201, (1, 2, 16), FULL)
    backend, judge = both
    ours, law = (attention.in_steps(ops, [[4200, 1]], 64) for ops in both)
    assert_near(ours[-1:], law[-1:])


@pytest.mark.parametrize("kv_dtype", LOSS)
@pytest.mark.parametrize("window", [1, 100, FULL])
@pytest.mark.parametrize("heads", [(2, 8, 64), (1, 3, 18), (1, 1, 130), (2, 16, 32)])
def test_rounded_keys_cost_no_more_than_they_say(isa, make, judge, kv_dtype, window, heads):
    attention = make.attention(333, heads, window)
    law = attention.alone(judge, [333])
    ops = CpuOps(2, isa, kv_dtype, alone_below=0)
    for ours in (attention.alone(ops, [333]), attention.in_steps(ops, [[300, 1]], 64)):
        assert np.linalg.norm(ours - law) <= LOSS[kv_dtype] * np.linalg.norm(law)


@pytest.mark.parametrize("kv_dtype", LOSS)
def test_what_pages_hold_beyond_a_text_is_not_seen(isa, make, metadata_of, kv_dtype):
    """Bytes that others left behind may mean anything, also no number."""
    attention = make.attention(70, (1, 8, 64), FULL)
    ops = CpuOps(1, isa, kv_dtype)
    pages, sinks = ops.new_pages(2, 64, 1, 64), ops.prepare_sinks(attention.sink_H, 1)
    pages.bytes_PKY[...] = 0xFF
    ours = ops.attend(*attention.activations, metadata_of([70], FULL, [0], [[0, 1]]), pages, sinks)
    assert np.array_equal(ours, attention.alone(ops, [70]))


@pytest.mark.parametrize("kv_dtype", LOSS)
@pytest.mark.parametrize(
    ("name", "number"),
    [("query_TKGC", np.nan), ("key_TKC", np.nan), ("value_TKC", np.nan), ("value_TKC", np.inf)],
)
def test_what_is_no_number_is_not_hidden(isa, make, kv_dtype, name, number):
    attention = make.attention(9, (2, 2, 40), 3)
    broken = getattr(attention, name).copy()
    broken[5, 1, ..., 7] = number
    attention_TE = dataclasses.replace(attention, **{name: broken}).alone(
        CpuOps(1, isa, kv_dtype), [9]
    )
    tells_TK = ~np.isfinite(attention_TE).reshape(9, 2, -1).all(axis=-1)
    assert not tells_TK[:, 0].any()
    assert tells_TK[:, 1].tolist() == [
        5 <= t < (6 if name == "query_TKGC" else 8) for t in range(9)
    ]


@pytest.mark.parametrize("kv_dtype", LOSS)
def test_keys_and_values_of_nothing_but_zeros(isa, make, kv_dtype):
    attention = make.attention(3, (1, 2, 16), FULL)
    nothing = dataclasses.replace(
        attention, key_TKC=attention.key_TKC * 0, value_TKC=attention.value_TKC * 0
    )
    assert not nothing.alone(CpuOps(1, isa, kv_dtype), [3]).any()


def test_int8_is_for_heads_whose_sums_fit():
    with pytest.raises(ValueError, match="at most 512 channels"):
        CpuOps(kv_dtype="int8").new_pages(1, 64, 1, 514)
