"""Converts named arrays to a backend's weights. Knows no file: takes any mapping.

The values are numpy arrays (usually mapped from a checkpoint) or a backend's own arrays, as the
trainer's parameters.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ossia.checkpoint.config import ModelConfig
from ossia.ops.api import Handle, Ops
from ossia.ops.mxfp4 import Mxfp4
from ossia.ops.weights import ExpertWeights, QkvWeights, Rope, RouterWeights, Weight


class Layer(NamedTuple):
    """The prepared weights of one transformer block."""

    is_windowed: bool
    qkv: Handle
    sinks: Handle
    out: Handle
    router: Handle
    experts: Handle


class Weights(NamedTuple):
    """The prepared weights of a model."""

    embedding: Handle
    layers: list[Layer]
    head: Handle


def prepare(
    config: ModelConfig,
    ops: Ops[Any],
    tensors: Mapping[str, Weight],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Weights:
    """Convert every tensor to the backend's form, layer by layer.

    Args:
        config: the model's shape.
        ops: the backend.
        tensors: by the names of `checkpoint.layouts`, or from `loading`.
        progress: called with (layers done, layers in all).
    """
    rope = yarn(config)
    layers = []
    for index in range(config.num_hidden_layers):
        progress(index, config.num_hidden_layers)
        layers.append(_prepare_layer(config, ops, tensors, index, rope))
    progress(config.num_hidden_layers, config.num_hidden_layers)
    return Weights(
        embedding=ops.prepare_embed(tensors["embedding"]),
        layers=layers,
        head=ops.prepare_unembed(
            tensors["final_norm"],
            tensors["head"],
            config.rms_norm_eps,
            scan=tensors.get("head_scan"),
        ),
    )


def _prepare_layer(
    config: ModelConfig, ops: Ops[Any], tensors: Mapping[str, Weight], index: int, rope: Rope
) -> Layer:
    def get(name: str) -> Weight:
        return tensors[f"layers.{index}.{name}"]

    def matrices(name: str) -> Mxfp4 | Weight:
        if (repacked := f"layers.{index}.{name}") in tensors:
            return tensors[repacked]
        if f"layers.{index}.{name}_blocks" in tensors:
            return Mxfp4(get(f"{name}_blocks"), get(f"{name}_scales"))
        return get(f"{name}_weight")

    qkv = QkvWeights(
        norm_D=get("attention_norm"),
        query_ED=get("q_weight"),
        query_bias=get("q_bias"),
        key_weight=get("k_weight"),
        key_bias=get("k_bias"),
        value_weight=get("v_weight"),
        value_bias=get("v_bias"),
        num_kv_heads=config.num_key_value_heads,
        head_dim=config.head_dim,
        rope=rope,
        eps=config.rms_norm_eps,
    )
    router = RouterWeights(
        norm_D=get("expert_norm"),
        router_ND=get("router_weight"),
        bias_N=get("router_bias"),
        num_active=config.num_experts_per_tok,
        eps=config.rms_norm_eps,
    )
    experts = ExpertWeights(
        gate_up_NUD=matrices("gate_up"),
        gate_up_bias_NU=get("gate_up_bias"),
        down_NDF=matrices("down"),
        down_bias_ND=get("down_bias"),
        limit=config.swiglu_limit,
        alpha=config.swiglu_alpha,
    )
    return Layer(
        is_windowed=config.layer_types[index] == "sliding_attention",
        qkv=ops.prepare_qkv(qkv),
        sinks=ops.prepare_sinks(get("sinks"), config.num_key_value_heads),
        out=ops.prepare_out(get("out_weight"), get("out_bias")),
        router=ops.prepare_route(router),
        experts=ops.prepare_experts(experts),
    )


def yarn(config: ModelConfig) -> Rope:
    """Compute RoPE frequencies with YaRN (arXiv:2309.00071, section 3.2).

    Fast channels stay, slow ones are divided by the factor, those between are interpolated.
    """
    half = config.head_dim // 2
    theta, factor = config.rope_theta, config.rope_factor
    period_C = theta ** (np.arange(half, dtype=np.float64) / half)
    if factor == 1.0:
        return Rope(inverse_frequency=(1 / period_C).astype(np.float32), scale=1.0)

    def channel(rotations: float) -> float:
        """Return the channel with this many rotations within the original context."""
        length = config.rope_original_max_position_embeddings
        return half * math.log(length / (rotations * 2 * math.pi)) / math.log(theta)

    low, high = channel(config.rope_beta_fast), channel(config.rope_beta_slow)
    if config.rope_truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0.0), min(high, config.head_dim - 1.0)
    ramp_C = np.clip((np.arange(half) - low) / max(high - low, 0.001), 0, 1)
    inverse_C = (1 - ramp_C) / period_C + ramp_C / (factor * period_C)
    return Rope(inverse_frequency=inverse_C.astype(np.float32), scale=0.1 * math.log(factor) + 1)
