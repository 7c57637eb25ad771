"""Formulas for the parameters and bytes of a model of a given shape.

It reads no file: what a folder really holds is compared against `layouts.py`, tensor by tensor.

Source:
    the sizes of the published models, which these formulas reproduce exactly.
"""

from ossia.checkpoint.config import ModelConfig


def parameters(config: ModelConfig) -> int:
    """Count all parameters, without the scales of MXFP4 blocks."""
    per_layer = _attention(config) + _router(config)
    experts = config.num_local_experts * _expert(config)
    return config.num_hidden_layers * (per_layer + experts) + 2 * _table(config) + _final(config)


def active_parameters(config: ModelConfig) -> int:
    """Count the active parameters per token: its experts and the head, not the embedding."""
    per_layer = _attention(config) + _router(config)
    experts = config.num_experts_per_tok * _expert(config)
    return config.num_hidden_layers * (per_layer + experts) + _table(config) + _final(config)


def checkpoint_bytes(config: ModelConfig, *, packed: bool = True) -> int:
    """Count the bytes of all tensors: bfloat16, with the experts' matrices in MXFP4 if `packed`."""
    if not packed:
        return 2 * parameters(config)
    per_layer = 2 * (_attention(config) + _router(config))
    tables = 2 * (2 * _table(config) + _final(config))
    return config.num_hidden_layers * per_layer + experts_bytes(config) + tables


def expert_bytes(config: ModelConfig) -> int:
    """Count the bytes of an expert: MXFP4 blocks and scales, bfloat16 biases."""
    weights = 3 * config.intermediate_size * config.hidden_size
    biases = 2 * config.intermediate_size + config.hidden_size
    return weights // 32 * 17 + 2 * biases


def experts_bytes(config: ModelConfig) -> int:
    """Count the bytes of all experts of all layers, in MXFP4."""
    return config.num_hidden_layers * config.num_local_experts * expert_bytes(config)


def decoded_token_bytes(config: ModelConfig) -> int:
    """Bytes of weights read to decode one token: the layers with its experts only, and the head.

    Its row of the embedding and the final norm are left out, as in the published figure.
    """
    experts = config.num_experts_per_tok * expert_bytes(config)
    per_layer = 2 * (_attention(config) + _router(config)) + experts
    return config.num_hidden_layers * per_layer + 2 * _table(config)


def _attention(config: ModelConfig) -> int:
    query = config.num_attention_heads * config.head_dim
    fused = query + 2 * config.num_key_value_heads * config.head_dim
    hidden = config.hidden_size
    norm_and_out_bias = 2 * hidden
    sinks = config.num_attention_heads
    return fused * hidden + fused + sinks + hidden * query + norm_and_out_bias


def _router(config: ModelConfig) -> int:
    """The router and the norm before it."""
    experts, hidden = config.num_local_experts, config.hidden_size
    return experts * hidden + experts + hidden


def _expert(config: ModelConfig) -> int:
    hidden, intermediate = config.hidden_size, config.intermediate_size
    return 3 * intermediate * hidden + 2 * intermediate + hidden


def _table(config: ModelConfig) -> int:
    """The embedding, or the head."""
    return config.vocab_size * config.hidden_size


def _final(config: ModelConfig) -> int:
    return config.hidden_size
