"""Products with tiled weights: the same bytes, bits and numbers as the rule, on every processor."""

import ml_dtypes
import numpy as np
import pytest

from ossia.ops.api import Routing
from ossia.ops.cpu import CpuOps
from ossia.ops.mxfp4 import Mxfp4
from ossia.ops.tiles import tile_int8, tile_mxfp4, tile_rounded

TWICE = np.array([0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12])
"""Each MXFP4 code's value, doubled."""
COUNTS = [0, 1, 2, 3, 4, 5, 31, 32, 33, 65]
"""Tokens: none, few, and on both sides of one pass and of two."""
BOUNDS = {"int8": 1e-2, "lean": 2e-1}
"""Relative L2 distance from float32; measured: 8.4e-3 and 0.12."""


@pytest.fixture(params=["int8", "lean"])
def weights(request):
    return request.param


def assert_same_bytes(ours, law):
    assert ours.shape == law.shape
    for mine, theirs in ((ours.values, law.values), (ours.scales, law.scales)):
        assert mine.dtype == theirs.dtype
        assert mine.tobytes() == theirs.tobytes()


def distance(ours, law):
    return np.linalg.norm(ours.astype(np.float64) - law) / np.linalg.norm(law)


def numbers(tiles):
    """Whole numbers [rows, J, 32] and their units [rows, J], from the places of the bytes."""
    groups, blocks, _ = tiles.values.shape
    if tiles.is_packed:
        bytes_GJjrk = tiles.values.reshape(groups, blocks, 4, 16, 4)
        both = TWICE[np.stack([bytes_GJjrk & 15, bytes_GJjrk >> 4], axis=3)]
        number = both.transpose(0, 4, 1, 2, 3, 5)
        unit = np.ldexp(np.float32(0.5), tiles.scales.astype(int) - 127)
    else:
        number = tiles.values.reshape(groups, blocks, 8, 16, 4).transpose(0, 3, 1, 2, 4)
        unit = tiles.scales.astype(np.float32)
    rows = tiles.rows
    number = number.reshape(groups * 16, blocks, 32)[:rows].astype(np.int64)
    return number, unit.swapaxes(1, 2).reshape(groups * 16, blocks)[:rows]


def rounded(x):
    """Whole numbers [T, J, 32] of activations, and their units [T, J]."""
    tokens, columns = x.shape
    block = np.pad(x, [(0, 0), (0, -columns % 32)]).reshape(tokens, -(-columns // 32), 32)
    largest = np.abs(block).max(axis=-1)
    factor = np.float32(127) / np.where(largest > 0, largest, np.inf)
    return np.rint(block * factor[..., None]).astype(np.int64), largest / np.float32(127)


def product(tiles, x):
    """The rule: whole numbers inside a block, then float32, blocks in ascending order."""
    (weight, row_unit), (number, unit) = numbers(tiles), rounded(x)
    total = np.zeros((len(x), tiles.rows), np.float32)
    for j in range(weight.shape[1]):
        whole = (number[:, j] @ weight[:, j].T).astype(np.float32)
        total += whole * (unit[:, j, None] * row_unit[:, j])
    return total


def tiles_of(weights, weight):
    return tile_int8(weight) if weights == "int8" else tile_rounded(weight)


def project_out(ops, hidden, x, weight, bias):
    return ops.project_out(hidden, x, ops.prepare_out(weight, bias))


@pytest.mark.parametrize("shape", [(1, 1), (16, 32), (37, 100), (48, 64), (2, 17, 33)])
@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16])
@pytest.mark.parametrize("size", [1, 1e-4, 1e-7])  # float16 has small numbers, and none smaller
def test_floats_become_the_tiles_of_the_rule(isa, make, weights, shape, dtype, size):
    weight = (make.normal(*shape) * np.float32(size)).astype(dtype)
    weight[..., 0, :] = 0
    ops = CpuOps(2, isa, alone_below=0, weights=weights)
    assert_same_bytes(ops.repack("projection", weight), tiles_of(weights, weight))


@pytest.mark.parametrize("rows", [2, 32, 34, 42, 64, 96])
@pytest.mark.parametrize("columns", [32, 96])
def test_packed_experts_become_the_tiles_of_the_rule(isa, make, weights, rows, columns):
    packed = make.packed(3, rows, columns)
    ops = CpuOps(2, isa, alone_below=0, weights=weights)
    assert_same_bytes(ops.repack("gate_up", packed), tile_mxfp4(packed, gates_and_ups=True))
    assert_same_bytes(ops.repack("down", packed), tile_mxfp4(packed))


def test_exact_weights_and_dense_experts_stay_as_they_are(make, weights):
    weight, packed = make.weight(16, 32), make.packed(1, 32, 32)
    assert CpuOps(1, weights="bf16").repack("projection", weight) is weight
    assert CpuOps(1, weights="bf16").repack("gate_up", packed) is packed
    assert CpuOps(1, weights=weights).repack("gate_up", weight) is weight


@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_refused(isa, make, weights, dtype, value):
    weight = make.weight(33, 70, dtype=dtype)
    weight[32, 69] = value
    with pytest.raises(ValueError, match="projection is not finite"):
        CpuOps(1, isa, weights=weights).repack("projection", weight)


def test_weights_beyond_float16_scales_are_refused(isa, make):
    weight = make.weight(16, 32, dtype=np.float32)
    weight[3, 4] = 1e8
    with pytest.raises(ValueError, match="too large"):
        CpuOps(1, isa, weights="int8").repack("projection", weight)
    CpuOps(1, isa, weights="lean").repack("projection", weight)


@pytest.mark.parametrize("tokens", COUNTS)
@pytest.mark.parametrize("shape", [(37, 100), (48, 32), (5, 300)])
def test_products_are_those_of_the_rule(isa, make, weights, shape, tokens):
    weight, bias = make.weight(*shape), make.weight(shape[0])
    hidden, x = make.normal(tokens, shape[0]), make.normal(tokens, shape[1])
    ours = project_out(CpuOps(2, isa, alone_below=0, weights=weights), hidden, x, weight, bias)
    law = hidden + (product(tiles_of(weights, weight), x) + bias.astype(np.float32))
    assert ours.shape == law.shape
    if tokens:
        assert distance(ours, law) < 1e-6
    plain = project_out(CpuOps(1, "plain", weights=weights), hidden, x, weight, bias)
    np.testing.assert_array_equal(ours.view(np.int32), plain.view(np.int32))


@pytest.mark.parametrize("size", [1e36, 1e20, 1e-20, 1e-29])
def test_products_at_the_ends_of_float32(isa, make, weights, size):
    weight, zeros = make.weight(16, 64), np.zeros((3, 16), np.float32)
    x = np.clip(make.normal(3, 64), -1, 1) * np.float32(size)
    ours = project_out(CpuOps(1, isa, weights=weights), zeros, x, weight, zeros[0])
    law = product(tiles_of(weights, weight), x)
    assert distance(ours / np.float32(size), law / np.float32(size)) < 1e-6


@pytest.mark.parametrize("tokens", [1, 7])
def test_what_is_too_small_to_matter_becomes_nothing(isa, make, weights, tokens):
    hidden, weight, bias = make.normal(tokens, 16), make.weight(16, 64), make.normal(16)
    ops = CpuOps(1, isa, weights=weights)
    for x in (np.zeros((tokens, 64), np.float32), np.full((tokens, 64), 1e-39, np.float32)):
        ours = project_out(ops, hidden, x, weight, bias)
        np.testing.assert_array_equal(ours, hidden + bias)
    nothing = project_out(ops, hidden, make.normal(tokens, 64), np.zeros_like(weight), bias)
    np.testing.assert_array_equal(nothing, hidden + bias)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("tokens", [1, 40])
def test_what_is_not_finite_is_not_hidden(isa, make, weights, value, tokens):
    bad, place = tokens // 2, 77
    hidden, x, bias = make.normal(tokens, 33), make.normal(tokens, 100), make.normal(33)
    ops, weight = CpuOps(1, isa, weights=weights), make.weight(33, 100)
    before = project_out(ops, hidden, x, weight, bias)
    x[bad, place] = value
    after = project_out(ops, hidden, x, weight, bias)
    assert np.isnan(after[bad]).all()
    others = np.arange(tokens) != bad
    np.testing.assert_array_equal(after[others], before[others])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_experts_do_not_hide_it_either(isa, make, value):
    experts, hidden, normed = make.experts(3, 64, 32), make.normal(9, 64), make.normal(9, 64)
    routing = Routing(normed, *make.routes(9, 3, 2))
    ops = CpuOps(1, isa, weights="int8")
    before = ops.moe(hidden, routing, ops.prepare_experts(experts))
    normed[4, 63] = value
    after = ops.moe(hidden, routing, ops.prepare_experts(experts))
    assert np.isnan(after[4]).all()
    np.testing.assert_array_equal(np.delete(after, 4, axis=0), np.delete(before, 4, axis=0))


@pytest.mark.parametrize("inner", [32, 96])
@pytest.mark.parametrize("tokens", [0, 1, 33, 65])
def test_experts_are_those_of_the_rule(isa, make, inner, tokens):
    """Up to whole numbers that the last bit of an exponential decides."""
    num_experts, active, width = 3, 2, 96
    experts = make.experts(num_experts, width, inner)
    hidden, normed = make.normal(tokens, width), make.normal(tokens, width)
    expert_TA, weight_TA = make.routes(tokens, num_experts, active)
    ops = CpuOps(2, isa, alone_below=0, weights="int8")
    ours = ops.moe(hidden, Routing(normed, expert_TA, weight_TA), ops.prepare_experts(experts))
    law = hidden.copy()
    for n in range(num_experts):
        token, slot = np.nonzero(expert_TA == n)
        both = product(tile_mxfp4(one(experts.gate_up_NUD, n)), normed[token])
        both += experts.gate_up_bias_NU[n].astype(np.float32)
        gate, up = np.minimum(both[:, ::2], 7), np.clip(both[:, 1::2], -7, 7)
        mixed = product(
            tile_mxfp4(one(experts.down_NDF, n)), gate / (1 + np.exp(-1.702 * gate)) * (up + 1)
        )
        law[token] += weight_TA[token, slot, None] * (
            mixed + experts.down_bias_ND[n].astype(np.float32)
        )
    assert ours.shape == law.shape
    if tokens:
        assert distance(ours, law) < 2e-4


def one(stack, n):
    return Mxfp4(stack.blocks[n], stack.scales[n])


@pytest.mark.parametrize("tokens", [1, 33])
def test_near_float32(isa, make, judge, weights, tokens):
    ops = CpuOps(2, isa, alone_below=0, weights=weights)
    hidden, mixed = make.normal(tokens, 320), make.normal(tokens, 256)
    position = np.arange(tokens, dtype=np.int32) * 31
    qkv = make.qkv(320, 2, 2, 64)
    out = make.weight(320, 256), make.weight(320)
    experts = make.experts(4, 320, 192)
    routing = Routing(hidden, *make.routes(tokens, 4, 2))

    def each(backend):
        yield from backend.project_qkv(hidden, position, backend.prepare_qkv(qkv))
        yield project_out(backend, np.zeros_like(hidden), mixed, *out)
        yield backend.moe(np.zeros_like(hidden), routing, backend.prepare_experts(experts))

    for ours, law in zip(each(ops), each(judge), strict=True):
        assert 1e-4 < distance(ours, law) < BOUNDS[weights]


def test_tiles_in_the_wrong_order_or_place_are_refused(make):
    ops, packed = CpuOps(1, weights="int8"), one(make.packed(1, 34, 32), 0)
    paired, plain = tile_mxfp4(packed, gates_and_ups=True), tile_mxfp4(packed)
    with pytest.raises(ValueError, match="out: "):
        ops.prepare_out(paired, np.zeros(34, np.float32))
    with pytest.raises(ValueError, match="head: "):
        ops.prepare_unembed(np.ones(32, np.float32), paired, 1e-5)
    with pytest.raises(ValueError, match="router: "):
        ops.prepare_route(make.router(32, 34, 2)._replace(router_ND=plain))
    with pytest.raises(ValueError, match="embed: "):
        ops.embed(np.zeros(1, np.int32), ops.prepare_embed(plain))
