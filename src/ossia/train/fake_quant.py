"""Quantisation-aware training: MXFP4 rounding with a straight-through gradient.

The values equal those of `ossia.ops.mxfp4` bit for bit, so packing after training changes nothing.
"""

from typing import Any

import torch
from torch import Tensor

from ossia.ops.mxfp4 import BLOCK, SCALE_BIAS

_LARGEST = 6.0


class _StraightThrough(torch.autograd.Function):
    """`round_to_mxfp4`, whose gradient is taken to be 1 (arXiv:1308.3432)."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor) -> Tensor:
        return round_to_mxfp4(weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]


def fake_quantize(weight: Tensor) -> Tensor:
    """Round [..., I] as `round_to_mxfp4` does; the gradient passes straight through."""
    rounded: Tensor = _StraightThrough.apply(weight)  # type: ignore[no-untyped-call]
    return rounded


def round_to_mxfp4(weight: Tensor) -> Tensor:
    """The values that `unpack(pack(weight))` gives; float32, blocks of 32 along the last axis."""
    block = weight.reshape(*weight.shape[:-1], -1, BLOCK)
    largest = block.abs().amax(dim=-1, keepdim=True)
    exponent = torch.where(largest > 0, torch.frexp(largest).exponent - 3, -SCALE_BIAS)
    exponent = exponent.clamp(-SCALE_BIAS, SCALE_BIAS)
    one = torch.ones_like(largest)
    unit = block * torch.ldexp(one, -exponent)
    size = unit.abs()
    # the grid's spacing: 1/2 below 2, 1 below 4, 2 beyond; its codes are even where `round` ties
    spacing = _power_of_two_below(size.clamp(min=1)) / 2
    rounded = ((size / spacing).round_() * spacing).clamp_(max=_LARGEST)
    # -0 becomes +0, as in `pack`
    rounded = torch.copysign(rounded, unit).add_(0.0)
    return (rounded * torch.ldexp(one, exponent)).flatten(-2)


def _power_of_two_below(value: Tensor) -> Tensor:
    """The exponent bits of positive float32 values, by themselves."""
    return (value.view(torch.int32) & 0x7F800000).view(torch.float32)
