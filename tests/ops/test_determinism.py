"""The C++ backend gives a token the same bits in whatever company it comes."""

import dataclasses

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ossia.ops.api import Routing
from ossia.ops.cpu import KV_DTYPES, CpuOps

TOKENS = 21
WIDTH, INNER, EXPERTS, ACTIVE = 544, 608, 6, 3  # longer than a run of columns
HEADS = (2, 3, 32)
FULL = 1 << 20


@pytest.fixture
def calls(make):
    """Each operation on rows of the same step: (operation, prepare) -> f(ops, rows) -> arrays."""
    hidden_TD, attention_TE = make.normal(TOKENS, WIDTH), make.normal(TOKENS, 96)
    position_T = np.arange(TOKENS, dtype=np.int32) * 977
    chosen_TA, weight_TA = make.routes(TOKENS, EXPERTS, ACTIVE)
    qkv, router = make.qkv(WIDTH, *HEADS), make.router(WIDTH, EXPERTS, ACTIVE)
    out = make.weight(WIDTH, 96, dtype=np.float32), make.weight(WIDTH)
    packed = make.experts(EXPERTS, WIDTH, INNER)
    dense = make.experts(EXPERTS, 352, 96, np.float32)
    norm_D, head_VD = make.normal(WIDTH), make.weight(77, WIDTH)

    def mix(ops, rows, weights, width):
        hidden = np.ascontiguousarray(hidden_TD[rows, :width])
        routing = Routing(hidden, chosen_TA[rows], weight_TA[rows])
        return (ops.moe(hidden, routing, ops.prepare_experts(weights)),)

    return {
        "project_qkv": lambda ops, rows: ops.project_qkv(
            hidden_TD[rows], position_T[rows], ops.prepare_qkv(qkv)
        ),
        "project_out": lambda ops, rows: (
            ops.project_out(hidden_TD[rows], attention_TE[rows], ops.prepare_out(*out)),
        ),
        "route": lambda ops, rows: ops.route(hidden_TD[rows], ops.prepare_route(router)),
        "packed experts": lambda ops, rows: mix(ops, rows, packed, WIDTH),
        "dense experts": lambda ops, rows: mix(ops, rows, dense, 352),
        "unembed": lambda ops, rows: (
            ops.unembed(hidden_TD, rows, ops.prepare_unembed(norm_D, head_VD, 1e-5)),
        ),
    }


def assert_same_bits(ours, others):
    for mine, theirs in zip(ours, others, strict=True):
        np.testing.assert_array_equal(mine.view(np.int32), theirs.view(np.int32))


TILED = ["project_qkv", "project_out", "packed experts"]
CALLS = [
    *(("bf16", name) for name in (*TILED, "route", "dense experts", "unembed")),
    *(("int8", name) for name in TILED),
    *(("lean", name) for name in TILED if "experts" not in name),  # those are as in int8
]


@pytest.mark.parametrize(("weights", "name"), CALLS)
def test_a_token_alone_and_in_company(isa, calls, weights, name):
    ops = CpuOps(2, isa, alone_below=0, weights=weights)
    together = calls[name](ops, np.arange(TOKENS, dtype=np.int32))
    for size in (1, 2, 3, 4, 5, 6, 7, 11):
        for first in {0, 3 * size % (TOKENS - size)}:
            rows = np.arange(first, first + size, dtype=np.int32)
            assert_same_bits(calls[name](ops, rows), [each[rows] for each in together])


@pytest.mark.parametrize("rows", [32, 31, 1])
def test_a_token_in_one_pass_or_another(isa, make, rows):
    """Tiled products take at most 32 tokens at a time."""
    weight, bias, x = make.weight(40, 96), make.weight(40), make.normal(65, 96)
    experts, chosen = make.experts(2, 96, 64), make.routes(65, 2, 1)
    ops = CpuOps(2, isa, alone_below=0, weights="int8")
    out, mixer = ops.prepare_out(weight, bias), ops.prepare_experts(experts)

    def both(first, last):
        part = slice(first, last)
        yield ops.project_out(np.zeros((last - first, 40), np.float32), x[part], out)
        routing = Routing(x[part], *(each[part] for each in chosen))
        yield ops.moe(x[part], routing, mixer)

    together = list(both(0, 65))
    for first in range(0, 65, rows):
        last = min(first + rows, 65)
        assert_same_bits(both(first, last), [each[first:last] for each in together])


@pytest.mark.parametrize(("weights", "name"), CALLS)
@pytest.mark.parametrize("threads", [2, 3, 5])
def test_any_number_of_threads(isa, calls, weights, name, threads):
    rows = np.arange(TOKENS, dtype=np.int32)
    several = CpuOps(threads, isa, alone_below=0, weights=weights)
    alone = CpuOps(1, isa, weights=weights)
    assert_same_bits(calls[name](several, rows), calls[name](alone, rows))


@pytest.mark.parametrize("kv_dtype", KV_DTYPES)
@pytest.mark.parametrize("page_tokens", [1, 7, 16, 64, 100])
@pytest.mark.parametrize("window", [5, 128, FULL])
def test_attention_in_any_steps_on_any_pages(isa, make, kv_dtype, page_tokens, window):
    attention = make.attention(400, (2, 3, 20), window)
    whole = attention.alone(CpuOps(1, isa, kv_dtype), [200, 200])
    for chunks in ([[1] * 200, [200]], [[131, 1, 1, 67], [64, 64, 1]]):
        ours = attention.in_steps(CpuOps(2, isa, kv_dtype, alone_below=0), chunks, page_tokens)
        assert_same_bits([ours], [whole])


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    chunks=st.lists(st.lists(st.integers(0, 90), max_size=9), min_size=1, max_size=3),
    window=st.sampled_from([1, 63, 64, 65, 128, FULL]),
    page_tokens=st.integers(1, 70),
    threads=st.integers(1, 3),
)
def test_attention_however_it_is_cut(make, chunks, window, page_tokens, threads):
    attention = make.attention(150 * len(chunks), (1, 2, 18), window)
    whole = attention.alone(CpuOps(1), [150] * len(chunks))
    assert_same_bits(
        [attention.in_steps(CpuOps(threads, alone_below=0), chunks, page_tokens)], [whole]
    )


@pytest.mark.parametrize("kv_dtype", KV_DTYPES)
@pytest.mark.parametrize("page_tokens", [64, 96, 1024])
def test_spans_of_keys_on_any_number_of_threads(isa, make, kv_dtype, page_tokens):
    """A few tokens after 2,040 on one thread, on many that share their spans, and in one step."""
    attention = make.attention(2060, (1, 2, 16), FULL)
    whole = attention.alone(CpuOps(1, isa, kv_dtype), [2060])
    for threads, counts in ((1, [2040, 1, 19]), (2, [2040, 19, 1]), (5, [2040, 1, 1, 17, 1])):
        ops = CpuOps(threads, isa, kv_dtype, alone_below=0)
        assert_same_bits([attention.in_steps(ops, [counts], page_tokens)], [whole])


def test_bfloat16_pages_round_once(make, assert_near):
    """Keys and values kept as bfloat16 are those of float32 pages, rounded first."""
    attention = make.attention(100, (1, 4, 64), 128)
    rounded = dataclasses.replace(
        attention,
        **{
            name: getattr(attention, name).astype(ml_dtypes.bfloat16).astype(np.float32)
            for name in ("key_TKC", "value_TKC")
        },
    )
    ours = attention.alone(CpuOps(kv_dtype="bfloat16"), [100])
    assert_same_bits([ours], [rounded.alone(CpuOps(), [100])])


def test_int8_pages_round_each_key_and_value_once(make):
    """Keys and values kept as int8 are those of float32 pages, rounded first; the query and the
    weights keep 16 bits."""
    attention = make.attention(300, (2, 8, 64), 128)

    def rounded(x_TKC):
        scale = np.abs(x_TKC).max(axis=-1, keepdims=True) / np.float32(127)
        scale = scale.astype(ml_dtypes.bfloat16).astype(np.float32)
        return np.clip(np.rint(x_TKC / scale), -127, 127) * scale

    exact = dataclasses.replace(
        attention,
        key_TKC=rounded(attention.key_TKC),
        value_TKC=rounded(attention.value_TKC),
    )
    ours = attention.alone(CpuOps(kv_dtype="int8"), [300])
    law = exact.alone(CpuOps(), [300])
    assert np.linalg.norm(ours - law) <= 1e-4 * np.linalg.norm(law)
