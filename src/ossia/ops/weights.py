"""Weights as inputs of a backend, and the checks that every backend shares.

Letters as in api.py; F width inside an expert, U = 2F gate and up rows.
"""

from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ossia.ops.mxfp4 import Mxfp4
from ossia.ops.tiles import Tiles

Weight: TypeAlias = Any
"""A weight: a numpy array of any float dtype, often mapped read-only from a file, the backend's
own array (a torch parameter keeps its gradient), or its own `Tiles`."""


class Rope(NamedTuple):
    """RoPE parameters with YaRN applied."""

    inverse_frequency: NDArray[np.float32]
    """[C/2], radians per position. The angle is float32(position) * this, as in the reference."""
    scale: float
    """Multiplies cos and sin (YaRN's attention temperature)."""


class QkvWeights(NamedTuple):
    """Attention norm and the three projections of one layer. Biases are [E], [K*C], [K*C]."""

    norm_D: Weight
    query_ED: Weight
    query_bias: Weight
    key_weight: Weight
    key_bias: Weight
    value_weight: Weight
    value_bias: Weight
    num_kv_heads: int
    head_dim: int
    rope: Rope
    eps: float


class RouterWeights(NamedTuple):
    """The norm before the experts, and the router."""

    norm_D: Weight
    router_ND: Weight
    bias_N: Weight
    num_active: int
    eps: float


class ExpertWeights(NamedTuple):
    """All experts of one layer; even rows of gate_up are gates, odd rows ups of the same channel.

    The two matrices are both `Mxfp4`, both `Tiles` of one backend, or both dense floats, which may
    be strided views.
    """

    gate_up_NUD: Mxfp4 | Tiles | Weight
    gate_up_bias_NU: Weight
    down_NDF: Mxfp4 | Tiles | Weight
    down_bias_ND: Weight
    limit: float
    alpha: float


class FusedQkv(NamedTuple):
    """Prepared `QkvWeights`: rows of query, key and value in one matrix, arrays of a backend."""

    norm_D: Weight
    weight: Weight
    bias: Weight
    num_kv_heads: int
    head_dim: int
    inverse_frequency: Weight
    rope_scale: float
    eps: float


class OutProjection(NamedTuple):
    """A prepared attention output projection, arrays of a backend."""

    weight_DE: Weight
    bias_D: Weight


class OutputHead(NamedTuple):
    """The prepared final norm and output head, arrays of a backend."""

    norm_D: Weight
    weight_VD: Weight
    eps: float


def check_shape(what: str, shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    """Check a shape; ValueError, since a mismatch is a bug."""
    if tuple(shape) != expected:
        raise ValueError(f"{what} has shape {list(shape)}; expected {list(expected)}")


def check_qkv(weights: QkvWeights) -> None:
    """Check the shapes of attention weights."""
    width, kv_width = weights.norm_D.shape[0], weights.num_kv_heads * weights.head_dim
    query_width = weights.query_ED.shape[0]
    if query_width % kv_width:
        raise ValueError(f"query rows {query_width}; expected a multiple of {kv_width}")
    check_shape("query weight", weights.query_ED.shape, (query_width, width))
    check_shape("query bias", weights.query_bias.shape, (query_width,))
    for name in ("key", "value"):
        check_shape(f"{name} weight", getattr(weights, f"{name}_weight").shape, (kv_width, width))
        check_shape(f"{name} bias", getattr(weights, f"{name}_bias").shape, (kv_width,))
    check_shape("inverse_frequency", weights.rope.inverse_frequency.shape, (weights.head_dim // 2,))


def check_experts(weights: ExpertWeights) -> None:
    """Check the shapes of expert weights."""
    experts, width, inner = weights.down_NDF.shape
    check_shape("gate_up", weights.gate_up_NUD.shape, (experts, 2 * inner, width))
    check_shape("gate_up bias", weights.gate_up_bias_NU.shape, (experts, 2 * inner))
    check_shape("down bias", weights.down_bias_ND.shape, (experts, width))
    for kind in (Mxfp4, Tiles):
        if isinstance(weights.gate_up_NUD, kind) != isinstance(weights.down_NDF, kind):
            raise ValueError("gate_up and down must both be MXFP4, both tiles or both dense")


def check_route(weights: RouterWeights) -> None:
    """Check the shapes of a router, and its number of active experts."""
    experts, width = weights.router_ND.shape
    check_shape("router norm", weights.norm_D.shape, (width,))
    check_shape("router bias", weights.bias_N.shape, (experts,))
    if not 1 <= weights.num_active <= experts:
        raise ValueError(f"{weights.num_active} active experts; expected 1 to {experts}")


def check_unembed(norm_D: Weight, head_VD: Weight) -> None:
    """Check the shapes of a final norm and a head."""
    check_shape("head", head_VD.shape, (head_VD.shape[0], norm_D.shape[0]))


def check_rows(what: str, shape: tuple[int, ...], width: int) -> None:
    """Check the width of rows."""
    if len(shape) != 2 or shape[1] != width:
        raise ValueError(f"{what} has shape {list(shape)}; expected [rows, {width}]")


def check_ids(id_T: NDArray[np.int32], num_rows: int) -> None:
    """Check that ids are rows of the embedding table."""
    if len(id_T) and not (id_T.min() >= 0 and id_T.max() < num_rows):
        raise ValueError(
            f"ids run from {id_T.min()} to {id_T.max()}; the table has {num_rows} rows"
        )
