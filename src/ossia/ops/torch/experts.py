"""The chosen experts in torch: tokens sorted by expert, one expert after the other.

Knows nothing of routing. Letters as in ops/api.py; F width inside an expert, U = 2F, X = T*A
(token, expert) pairs.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ossia.ops.api import Routing
from ossia.ops.mxfp4 import E2M1, SCALE_BIAS

_SCALES = np.ldexp(np.float32(1), np.arange(255) - SCALE_BIAS)
"""Factor of each scale byte; 255, NaN in the format, is refused when files are opened."""


@dataclass(frozen=True, slots=True)
class Packed:
    """One layer's expert matrices in MXFP4, as in `ossia.ops.mxfp4.Mxfp4`."""

    blocks: Tensor
    scales: Tensor

    def __getitem__(self, n: int) -> Tensor:
        """Widen expert n's matrix to float32, exactly."""
        blocks, scales = self.blocks[n], self.scales[n]
        code = torch.stack([blocks & 0xF, blocks >> 4], dim=-1).flatten(-2).long()
        value = torch.from_numpy(E2M1).to(blocks.device)[code]
        factor = torch.from_numpy(_SCALES).to(blocks.device)[scales.long()]
        return (value * factor[..., None]).flatten(-2)


@dataclass(frozen=True, slots=True)
class Experts:
    """All experts of one layer."""

    gate_up_NUD: Packed | Tensor
    gate_up_bias_NU: Tensor
    down_NDF: Packed | Tensor
    down_bias_ND: Tensor
    limit: float
    alpha: float


class _Swiglu(torch.autograd.Function):
    """Clamped SwiGLU of gpt-oss; its gradient in fewer passes than autograd's."""

    @staticmethod
    def forward(ctx: Any, gate_XF: Tensor, up_XF: Tensor, limit: float, alpha: float) -> Tensor:
        ctx.save_for_backward(gate_XF, up_XF)
        ctx.limit, ctx.alpha = limit, alpha
        gate_XF = gate_XF.clamp(max=limit)
        factor_XF = up_XF.clamp(-limit, limit).add_(1)
        return torch.sigmoid(alpha * gate_XF).mul_(gate_XF).mul_(factor_XF)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        gate_XF, up_XF = ctx.saved_tensors
        limit, alpha = ctx.limit, ctx.alpha
        clamped_XF = gate_XF.clamp(max=limit)
        share_XF = torch.sigmoid(alpha * clamped_XF)
        value_XF = share_XF * clamped_XF
        # d/dg of g s(a g) is s + a g s (1 - s)
        slope_XF = torch.addcmul(share_XF, value_XF, 1 - share_XF, value=alpha)
        factor_XF = up_XF.clamp(-limit, limit).add_(1)
        to_gate_XF = slope_XF.mul_(factor_XF).mul_(gradients[0]).mul_(gate_XF <= limit)
        to_up_XF = value_XF.mul_(gradients[0]).mul_(up_XF.abs() <= limit)
        return to_gate_XF, to_up_XF, None, None


def swiglu(gate_XF: Tensor, up_XF: Tensor, limit: float, alpha: float) -> Tensor:
    """Clamped SwiGLU of gpt-oss: gate * sigmoid(alpha * gate) * (up + 1)."""
    inner_XF: Tensor = _Swiglu.apply(gate_XF, up_XF, limit, alpha)  # type: ignore[no-untyped-call]
    return inner_XF


def _one_by_one(matrices: Packed | Tensor) -> Packed | tuple[Tensor, ...]:
    """Return each expert's matrix; a dense one's gradient is then stacked once, not added up."""
    return matrices.unbind() if isinstance(matrices, Tensor) else matrices


def moe(hidden_TD: Tensor, routing: Routing, experts: Experts) -> Tensor:
    """Add the weighted outputs of each token's chosen experts: see `Ops.moe`."""
    tokens, active = routing.expert_TA.shape
    expert_X = routing.expert_TA.reshape(-1).long()
    order_X = expert_X.argsort(stable=True)
    token_X = order_X // active
    num_experts = len(experts.down_bias_ND)
    count_N = torch.bincount(expert_X, minlength=num_experts).tolist()

    outs = []
    gate_up_bias_N, down_bias_N = experts.gate_up_bias_NU.unbind(), experts.down_bias_ND.unbind()
    gate_up_N, down_N = _one_by_one(experts.gate_up_NUD), _one_by_one(experts.down_NDF)
    for n, normed_XD in enumerate(routing.normed_TD.index_select(0, token_X).split(count_N)):
        if len(normed_XD):
            # even rows make gates, odd rows ups
            gate_up_UD = gate_up_N[n].to(normed_XD.dtype)
            gate_FD, up_FD = gate_up_UD.view(-1, 2, gate_up_UD.shape[1]).unbind(1)
            gate_bias_F, up_bias_F = gate_up_bias_N[n].view(-1, 2).unbind(1)
            gate_XF = torch.addmm(gate_bias_F, normed_XD, gate_FD.T)
            up_XF = torch.addmm(up_bias_F, normed_XD, up_FD.T)
            inner_XF = swiglu(gate_XF, up_XF, experts.limit, experts.alpha)
            outs.append(torch.addmm(down_bias_N[n], inner_XF, down_N[n].to(normed_XD.dtype).T))
    if not outs:
        return hidden_TD.clone()
    weight_X1 = routing.weight_TA.reshape(-1, 1).index_select(0, order_X)
    return hidden_TD.index_add(0, token_X, torch.cat(outs) * weight_X1)
