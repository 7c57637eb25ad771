import numpy as np
import pytest

from ossia.ops.weights import Rope

POSITIONS = [0, 1, 127, 128, 129, 4095, 4096, 32768, 131071]


@pytest.mark.parametrize("tokens", [0, 1, 2, 9, 17])
@pytest.mark.parametrize(
    "sizes",
    [(32, 1, 1, 2), (64, 2, 3, 16), (96, 3, 1, 32), (32, 2, 16, 64), (2880, 2, 8, 64)],
)
def test_agrees_with_the_judge(both, make, run, assert_near, tokens, sizes):
    weights = make.qkv(*sizes)
    hidden_TD = make.normal(tokens, sizes[0])
    position_T = np.resize(np.array(POSITIONS, np.int32), tokens)

    ours, law = (
        run(ops, "project_qkv", hidden_TD, position_T, ops.prepare_qkv(weights)) for ops in both
    )

    for mine, its in zip(ours, law, strict=True):
        assert_near(mine, its)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_reads_other_float_weights(both, make, run, assert_near, dtype):
    weights = make.qkv(64, 2, 2, 16, dtype)
    arguments = (make.normal(3, 64), np.arange(3, dtype=np.int32))
    ours, law = (run(ops, "project_qkv", *arguments, ops.prepare_qkv(weights)) for ops in both)
    for mine, its in zip(ours, law, strict=True):
        assert_near(mine, its)


def test_does_not_touch_the_residual_stream(backend, make):
    hidden_TD = make.normal(2, 64)
    before = hidden_TD.copy()
    qkv = backend.prepare_qkv(make.qkv(64, 2, 2, 16))
    backend.project_qkv(backend.from_numpy(hidden_TD), np.arange(2, dtype=np.int32), qkv)
    np.testing.assert_array_equal(hidden_TD, before)


@pytest.mark.parametrize(
    ("position", "channel", "cosine", "sine"),
    [
        (1, 0, 0.727557, 1.133103),
        (1, 12, 1.346543, 0.009150),
        (127, 0, 0.312889, 1.309718),
        (127, 12, 0.875531, 1.023087),
        (4095, 12, -1.213118, 0.584470),
    ],
)
def test_turns_by_the_published_angles(backend, make, run, position, channel, cosine, sine):
    """Channel i of the key is 1, its partner i + 32 is 0: the pair becomes (c cos, c sin)."""
    inverse = {0: 1.0, 12: 0.00679495949}[channel]
    frequency = np.zeros(32, np.float32)
    frequency[channel] = inverse
    weights = make.qkv(32, 1, 1, 64)
    key_bias = np.zeros(64, np.float32)
    key_bias[channel] = 1
    weights = weights._replace(
        key_weight=np.zeros((64, 32), np.float32),
        key_bias=key_bias,
        rope=Rope(inverse_frequency=frequency, scale=0.1 * np.log(32) + 1),
    )

    _, key_TKC, _ = run(
        backend,
        "project_qkv",
        make.normal(1, 32),
        np.array([position], np.int32),
        backend.prepare_qkv(weights),
    )

    pair = key_TKC[0, 0, [channel, channel + 32]]
    np.testing.assert_allclose(pair, [cosine, sine], atol=2e-6)
    assert np.count_nonzero(key_TKC) == 2


def test_the_angle_is_a_float32_product(both, make, run):
    """At position 131,071 a float64 angle would differ by up to 2.5e-3."""
    weights = make.qkv(32, 1, 1, 64)
    arguments = (make.normal(1, 32), np.array([131_071], np.int32))
    ours, law = (run(ops, "project_qkv", *arguments, ops.prepare_qkv(weights)) for ops in both)
    np.testing.assert_allclose(ours[0], law[0], rtol=0, atol=2e-5)


def test_refuses_rows_of_another_width(backend, make):
    qkv = backend.prepare_qkv(make.qkv(64, 1, 1, 16))
    with pytest.raises(ValueError, match=r"expected \[rows, 64\]"):
        backend.project_qkv(backend.from_numpy(make.normal(1, 96)), np.zeros(1, np.int32), qkv)


def test_refuses_weights_that_do_not_belong_together(backend, make):
    weights = make.qkv(64, 2, 2, 16)._replace(value_bias=make.normal(31))
    with pytest.raises(ValueError, match=r"value bias has shape \[31\]; expected \[32\]"):
        backend.prepare_qkv(weights)
