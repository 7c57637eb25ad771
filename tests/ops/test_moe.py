import numpy as np
import pytest

from ossia.ops.api import Routing
from ossia.ops.mxfp4 import Mxfp4


def mix(ops, hidden_TD, normed_TD, expert_TA, weight_TA, weights):
    routing = Routing(
        ops.from_numpy(normed_TD.copy()),
        ops.from_numpy(expert_TA.copy()),
        ops.from_numpy(weight_TA.copy()),
    )
    experts = ops.prepare_experts(weights)
    return ops.to_numpy(ops.moe(ops.from_numpy(hidden_TD.copy()), routing, experts))


@pytest.mark.parametrize("tokens", [0, 1, 2, 5, 40])
@pytest.mark.parametrize(
    "sizes",
    [(1, 1, 32, 32), (4, 2, 64, 96), (9, 8, 96, 32), (5, 4, 32, 160)],
)
@pytest.mark.parametrize("dtype", [None, "bfloat16", np.float32], ids=["mxfp4", "bf16", "f32"])
def test_agrees_with_the_judge(both, make, assert_near, tokens, sizes, dtype):
    experts, active, width, inner = sizes
    kind = make.weight(1, 1).dtype if dtype == "bfloat16" else dtype
    weights = make.experts(experts, width, inner, kind)
    arguments = (
        make.normal(tokens, width),
        make.normal(tokens, width),
        *make.routes(tokens, experts, active),
        weights,
    )
    assert_near(*(mix(ops, *arguments) for ops in both))


@pytest.mark.parametrize(("width", "inner"), [(2880, 64), (64, 2880)])
def test_agrees_at_real_widths(both, make, assert_near, width, inner):
    arguments = (
        make.normal(3, width),
        make.normal(3, width),
        *make.routes(3, 2, 2),
        make.experts(2, width, inner),
    )
    assert_near(*(mix(ops, *arguments) for ops in both))


@pytest.mark.parametrize(
    ("gate", "up", "activated"),
    [
        (7, 6, 48.99967),
        (8, 9, 55.99963),
        (1, 1, 1.691592),
        (-1, -7.5, 0.925225),
        (-20, 3, -1.317e-13),
        (0, 0, 0),
        (-200, 3, 0),
    ],
)
@pytest.mark.parametrize("packed", [True, False])
def test_activates_by_the_published_table(backend, make, gate, up, activated, packed):
    """Gate and up come from the biases alone; down passes channel 5 on to column 3."""
    weights = make.experts(1, 32, 32)
    down_NDF = np.zeros((1, 32, 32), np.float32)
    down_NDF[0, 3, 5] = 1
    blocks = np.zeros((1, 32, 1, 16), np.uint8)
    blocks[0, 3, 0, 2] = 0x20  # value 5 is in the high nibble of byte 2; code 2 is 1
    bias_NU = np.zeros((1, 64), np.float32)
    bias_NU[0, 10:12] = gate, up
    weights = weights._replace(
        gate_up_NUD=Mxfp4(np.zeros((1, 64, 1, 16), np.uint8), np.full((1, 64, 1), 127, np.uint8))
        if packed
        else np.zeros((1, 64, 32), np.float32),
        gate_up_bias_NU=bias_NU,
        down_NDF=Mxfp4(blocks, np.full((1, 32, 1), 127, np.uint8)) if packed else down_NDF,
        down_bias_ND=np.zeros((1, 32), np.float32),
    )
    one = np.ones((1, 1), np.float32)

    out_TD = mix(
        backend, np.zeros((1, 32), np.float32), make.normal(1, 32), np.zeros((1, 1), np.int32),
        one, weights,
    )  # fmt: skip

    assert np.count_nonzero(np.delete(out_TD, 3)) == 0
    np.testing.assert_allclose(out_TD[0, 3], activated, rtol=1e-3 if gate == -20 else 1e-6)


def test_both_biases_are_inside_the_weighting(backend, make):
    weights = make.experts(2, 32, 32)
    weights = weights._replace(
        gate_up_NUD=np.zeros((2, 64, 32), np.float32),
        gate_up_bias_NU=np.zeros((2, 64), np.float32),
        down_NDF=np.zeros((2, 32, 32), np.float32),
        down_bias_ND=np.array([[8] * 32, [16] * 32], np.float32),
    )
    hidden_TD = np.ones((1, 32), np.float32)
    out_TD = mix(
        backend, hidden_TD, hidden_TD, np.array([[1, 0]], np.int32),
        np.array([[0.75, 0.25]], np.float32), weights,
    )  # fmt: skip
    np.testing.assert_array_equal(out_TD, np.full((1, 32), 1 + 0.75 * 16 + 0.25 * 8))


def test_one_expert_may_serve_all_and_others_none(both, make, assert_near):
    arguments = (
        make.normal(19, 64),
        make.normal(19, 64),
        np.full((19, 1), 2, np.int32),
        np.ones((19, 1), np.float32),
        make.experts(6, 64, 32),
    )
    assert_near(*(mix(ops, *arguments) for ops in both))


@pytest.mark.parametrize("scale", [0, 1, 2, 90, 160])
def test_reads_every_code_under_a_scale(both, make, scale):
    """Gate rows hold all sixteen codes in both nibbles; tiny scales reach below normal floats."""
    weights = make.experts(1, 32, 32)
    codes = np.arange(64 * 16, dtype=np.uint8).reshape(1, 64, 1, 16)
    weights = weights._replace(
        gate_up_NUD=Mxfp4(codes, np.full((1, 64, 1), scale, np.uint8)),
        gate_up_bias_NU=np.ones((1, 64), np.float32),
    )
    arguments = (
        np.zeros((1, 32), np.float32),
        make.normal(1, 32),
        np.zeros((1, 1), np.int32),
        np.ones((1, 1), np.float32),
        weights,
    )
    ours, law = (mix(ops, *arguments) for ops in both)
    np.testing.assert_allclose(ours, law, rtol=1e-5, atol=1e-5)


def test_refuses_matrices_that_do_not_belong_together(backend, make):
    weights = make.experts(2, 64, 32)._replace(down_bias_ND=make.normal(2, 32))
    with pytest.raises(ValueError, match=r"down bias has shape \[2, 32\]; expected \[2, 64\]"):
        backend.prepare_experts(weights)


def test_refuses_one_packed_and_one_dense_matrix(backend, make):
    weights = make.experts(2, 64, 32)._replace(down_NDF=make.normal(2, 64, 32))
    with pytest.raises(ValueError, match="both be MXFP4, both tiles or both dense"):
        backend.prepare_experts(weights)
