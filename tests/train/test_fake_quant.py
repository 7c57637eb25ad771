import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ossia.ops.mxfp4 import BLOCK, pack, unpack
from ossia.train.fake_quant import fake_quantize


def bits(values):
    return np.asarray(values, np.float32).view(np.uint32).tolist()


def agree(weight):
    return bits(fake_quantize(torch.from_numpy(weight))) == bits(unpack(pack(weight)))


@given(st.integers(0, 2**32 - 1), st.integers(-60, 60))
def test_equals_packing_and_unpacking_bit_for_bit(seed, power):
    random = np.random.default_rng(seed)
    weight = random.standard_normal((3, 2, 2 * BLOCK)).astype(np.float32)
    assert agree(np.ldexp(weight, power))


@given(st.lists(st.sampled_from([k / 8 for k in range(-64, 65)]), min_size=BLOCK, max_size=BLOCK))
def test_equals_packing_on_every_tie(values):
    assert agree(np.array([values], np.float32))


@pytest.mark.parametrize("value", [0.0, -0.0, 1e-38, -1e-38, 6.0, 7.99, 8.0, 3e38])
def test_equals_packing_at_the_ends(value):
    weight = np.zeros((1, BLOCK), np.float32)
    weight[0, 3] = value
    assert agree(weight)


def test_the_gradient_passes_straight_through():
    weight = torch.randn(2, BLOCK, generator=torch.Generator().manual_seed(0), requires_grad=True)
    slope = torch.arange(2.0 * BLOCK).view(2, BLOCK)
    (fake_quantize(weight) * slope).sum().backward()
    assert torch.equal(weight.grad, slope)


def test_rounding_twice_changes_nothing():
    weight = torch.randn(4, 3 * BLOCK, generator=torch.Generator().manual_seed(0))
    once = fake_quantize(weight)
    assert torch.equal(fake_quantize(once), once)
    assert not torch.equal(once, weight)
