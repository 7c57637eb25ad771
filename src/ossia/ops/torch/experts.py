"""The chosen experts in torch: tokens sorted by expert, one expert after the other.

Knows nothing of routing. Letters as in ops/api.py; F width inside an expert, U = 2F, X = T*A
(token, expert) pairs.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ossia.ops.api import Routed
from ossia.ops.mxfp4 import E2M1, SCALE_BIAS

_SCALES = np.ldexp(np.float32(1), np.arange(255) - SCALE_BIAS)
"""What each scale byte multiplies by; 255, NaN in the format, is refused at the files' door."""


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


def swiglu(gate_up_XU: Tensor, limit: float, alpha: float) -> Tensor:
    """Clamped SwiGLU of gpt-oss: even columns are gates, odd columns ups."""
    gate_XF = gate_up_XU[:, 0::2].clamp(max=limit)
    up_XF = gate_up_XU[:, 1::2].clamp(-limit, limit)
    return gate_XF * torch.sigmoid(alpha * gate_XF) * (up_XF + 1)


def mix(hidden_TD: Tensor, routed: Routed, experts: Experts) -> Tensor:
    """See `Ops.mix_experts`."""
    tokens, active = routed.expert_TA.shape
    expert_X = routed.expert_TA.reshape(-1).long()
    order_X = expert_X.argsort(stable=True)
    token_X = order_X // active
    num_experts = len(experts.down_bias_ND)
    count_N = torch.bincount(expert_X, minlength=num_experts).tolist()

    outs = []
    for n, normed_XD in enumerate(routed.normed_TD.index_select(0, token_X).split(count_N)):
        if len(normed_XD):
            gate_up_UD = experts.gate_up_NUD[n].to(normed_XD.dtype)
            down_DF = experts.down_NDF[n].to(normed_XD.dtype)
            gate_up_XU = torch.addmm(experts.gate_up_bias_NU[n], normed_XD, gate_up_UD.T)
            inner_XF = swiglu(gate_up_XU, experts.limit, experts.alpha)
            outs.append(torch.addmm(experts.down_bias_ND[n], inner_XF, down_DF.T))
    if not outs:
        return hidden_TD.clone()
    weight_X1 = routed.weight_TA.reshape(-1, 1).index_select(0, order_X)
    return hidden_TD.index_add(0, token_X, torch.cat(outs) * weight_X1)
