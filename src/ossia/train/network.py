"""The trainable model: parameters under checkpoint names, and the losses of a step.

The forward pass is `ossia.model.transformer`, as in serving; there is no second definition.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ossia.checkpoint.config import ModelConfig
from ossia.checkpoint.layouts import our_shapes
from ossia.model.transformer import Transformer
from ossia.model.weights import prepare
from ossia.train.batches import Batch
from ossia.train.fake_quant import fake_quantize
from ossia.train.shared_prefix import TrainingOps

INIT_STD = 0.02
BALANCE_WEIGHT = 0.01
"""Weight of the load-balancing loss (arXiv:2101.03961): without it few experts take all tokens."""
Z_WEIGHT = 1e-3
"""Weight of the router's z-loss (arXiv:2202.08906), which keeps its logits small."""


def nano_config(
    *, vocab_size: int, hidden: int, layers: int, experts: int, inner: int
) -> ModelConfig:
    """A small gpt-oss: heads of 32 channels, two key/value heads, a window of 64, YaRN from 512."""
    return ModelConfig(
        num_hidden_layers=layers,
        num_local_experts=experts,
        num_experts_per_tok=4,
        hidden_size=hidden,
        intermediate_size=inner,
        num_attention_heads=hidden // 32,
        num_key_value_heads=2,
        head_dim=32,
        vocab_size=vocab_size,
        sliding_window=64,
        layer_types=tuple(
            "full_attention" if layer % 2 else "sliding_attention" for layer in range(layers)
        ),
        max_position_embeddings=2048,
        rope_theta=150_000.0,
        rope_factor=4.0,
        rope_beta_fast=32.0,
        rope_beta_slow=1.0,
        rope_original_max_position_embeddings=512,
        rope_truncate=False,
        rms_norm_eps=1e-5,
        swiglu_limit=7.0,
        swiglu_alpha=1.702,
    )


def is_matrix(name: str) -> bool:
    """Whether weight decay applies."""
    return name.endswith("_weight") or name in ("embedding", "head")


def is_inner_matrix(name: str) -> bool:
    """Whether it maps activations to activations; the router's few rows are left out."""
    return name.endswith("_weight") and "router" not in name


def is_expert_matrix(name: str) -> bool:
    """Whether the checkpoint stores the weights in MXFP4."""
    return name.endswith((".gate_up_weight", ".down_weight"))


def new_parameters(config: ModelConfig, seed: int, device: str) -> dict[str, Tensor]:
    """Initialise float32 parameters under the names of a dense checkpoint, in the names' order."""
    source = torch.Generator().manual_seed(seed)
    parameters = {}
    for name, shape in our_shapes(config, packed=False).items():
        if is_matrix(name):
            # what adds to the residual stream starts smaller, the deeper the model
            shrink = name.endswith((".out_weight", ".down_weight"))
            std = INIT_STD / math.sqrt(2 * config.num_hidden_layers) if shrink else INIT_STD
            value = torch.randn(shape, generator=source) * std
        elif name.endswith("norm"):
            value = torch.ones(shape)
        else:
            value = torch.zeros(shape)
        parameters[name] = value.to(device).requires_grad_()
    return parameters


@dataclass(frozen=True, slots=True)
class Losses:
    """The losses of one step."""

    answer: Tensor
    """Mean cross-entropy of what is learned, by weight; nats a token."""
    balance: Tensor
    """The load-balancing loss; 1 if every expert gets its share."""
    z: Tensor
    share_LN: Tensor
    """Share of the (token, choice) pairs of a layer that went to each expert."""
    logits_RV: Tensor

    @property
    def total(self) -> Tensor:
        """The training loss."""
        return self.answer + BALANCE_WEIGHT * self.balance + Z_WEIGHT * self.z


def run(config: ModelConfig, parameters: Mapping[str, Tensor], batch: Batch) -> Losses:
    """Run one batch through the transformer with its experts rounded to MXFP4."""
    ops = TrainingOps(str(parameters["embedding"].device))
    tensors = {
        name: fake_quantize(value) if is_expert_matrix(name) else value
        for name, value in parameters.items()
    }
    network = Transformer(config, ops, prepare(config, ops, tensors))
    logits_RV = network.forward(batch.step, None)
    device = logits_RV.device
    surprise_R = torch.nn.functional.cross_entropy(
        logits_RV, batch.target_R.to(device), reduction="none"
    )
    weight_R = batch.weight_R.to(device)
    balances, zs, shares = [], [], []
    for score_TN, expert_TA in ops.scores:
        experts = score_TN.shape[1]
        share_N = torch.bincount(expert_TA.flatten(), minlength=experts) / expert_TA.numel()
        balances.append(experts * (share_N * score_TN.softmax(dim=1).mean(dim=0)).sum())
        zs.append(score_TN.logsumexp(dim=1).square().mean())
        shares.append(share_N)
    return Losses(
        answer=(surprise_R * weight_R).sum() / weight_R.sum(),
        balance=torch.stack(balances).mean(),
        z=torch.stack(zs).mean(),
        share_LN=torch.stack(shares),
        logits_RV=logits_RV,
    )
