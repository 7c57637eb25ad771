import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ossia.ops.mxfp4 import E2M1, Mxfp4, pack, round_to_code, unpack

shapes = st.tuples(st.integers(1, 3), st.integers(1, 3))
"""Rows and blocks a row."""


@st.composite
def packed(draw):
    """Any matrix that `pack` may have made: each block's largest value fills its scale."""
    rows, blocks = draw(shapes)
    code = draw(arrays.arrays(np.uint8, (rows, blocks, 32), elements=st.integers(0, 15)))
    code[code == 8] = 0  # packing writes +0
    code[..., 0] = draw(st.sampled_from([4, 5, 6, 7, 12, 14]))  # 2 to 6: the scale is its own
    code[np.abs(E2M1[code]).max(axis=-1) < 4, 0] = 6
    scales = draw(arrays.arrays(np.uint8, (rows, blocks), elements=st.integers(1, 250)))
    return Mxfp4(code[..., 0::2] | code[..., 1::2] << 4, scales)


def test_the_published_byte():
    blocks = np.zeros((1, 1, 16), np.uint8)
    blocks[0, 0, 0] = 0x2B
    value = unpack(Mxfp4(blocks, np.full((1, 1), 126, np.uint8)))
    assert value[0, :3].tolist() == [-0.75, 0.5, 0]


def test_the_sixteen_values():
    assert E2M1.tolist() == [0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6]
    assert np.signbit(E2M1[8])


def test_the_low_nibble_comes_first():
    blocks = np.arange(16, dtype=np.uint8).reshape(1, 1, 16)
    value = unpack(Mxfp4(blocks, np.full((1, 1), 127, np.uint8)))[0]
    np.testing.assert_array_equal(value[0::2], E2M1)
    np.testing.assert_array_equal(value[1::2], 0)


@pytest.mark.parametrize(("scale", "unit"), [(0, 2.0**-127), (1, 2.0**-126), (254, 2.0**127)])
def test_a_scale_is_a_power_of_two(scale, unit):
    blocks = np.full((1, 1, 16), 0x11, np.uint8)
    value = unpack(Mxfp4(blocks, np.full((1, 1), scale, np.uint8)))
    np.testing.assert_array_equal(value.astype(np.float64), unit / 2)


def test_widening_to_bfloat16_is_exact(make):
    value = unpack(pack(make.normal(4, 64)))
    assert np.array_equal(value.view(np.uint32) & 0xFFFF, np.zeros((4, 64), np.uint32))


@given(packed())
def test_packing_what_was_unpacked_gives_the_same_bytes(before):
    after = pack(unpack(before))
    np.testing.assert_array_equal(after.scales, before.scales)
    np.testing.assert_array_equal(after.blocks, before.blocks)


@given(
    shapes.flatmap(
        lambda shape: arrays.arrays(
            np.float32,
            (shape[0], shape[1] * 32),
            elements=st.floats(-(2.0**60), 2.0**60, width=32, allow_subnormal=False),
        )
    )
)
def test_a_packed_value_is_near(weight):
    """Steps are at most 2 wide at scale 1, and the largest may be cut from below 8 to 6."""
    block = weight.reshape(len(weight), -1, 32)
    unit = np.exp2(np.frexp(np.abs(block).max(axis=-1, keepdims=True))[1] - 3.0)
    error = np.abs(unpack(pack(weight)).reshape(block.shape) - block)
    assert (error <= np.where(np.abs(block) <= 6 * unit, 1, 2) * unit).all()


@given(packed())
def test_packing_twice_changes_nothing(value):
    once = unpack(pack(unpack(value)))
    np.testing.assert_array_equal(once, unpack(value))


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (0.25, 0), (0.26, 1), (0.75, 2), (1.25, 2), (1.75, 4), (2.5, 4), (3.5, 6), (5, 6),
        (5.01, 7), (100, 7), (-0.75, 10), (-6, 15), (-0.1, 0), (-0.0, 0), (0.0, 0),
    ],
)  # fmt: skip
def test_a_tie_goes_to_the_even_code(value, code):
    assert round_to_code(np.float32([value])).tolist() == [code]


def test_zeros_pack_to_zeros():
    packed = pack(np.zeros((2, 64), np.float32))
    assert not packed.blocks.any()
    assert not unpack(packed).any()


@pytest.mark.parametrize(
    "weight",
    [np.zeros((2, 33)), np.full((1, 32), np.inf), np.full((1, 32), np.nan)],
    ids=["columns", "infinity", "nan"],
)
def test_refuses_what_it_cannot_pack(weight):
    with pytest.raises(ValueError, match="need finite values, columns by 32"):
        pack(weight.astype(np.float32))


def test_refuses_scales_of_another_shape():
    with pytest.raises(ValueError, match=r"expected \[\.\.\., rows, n, 16\]"):
        Mxfp4(np.zeros((2, 3, 16), np.uint8), np.zeros((2, 2), np.uint8))


def test_knows_the_shape_of_what_it_holds():
    assert pack(np.ones((3, 5, 96), np.float32)).shape == (3, 5, 96)
