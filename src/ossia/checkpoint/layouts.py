"""The three published layouts of a gpt-oss checkpoint, and ossia's names of tensors.

Knows names, shapes and orders of axes; opens no file.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Literal, NamedTuple

from ossia.checkpoint.config import ModelConfig
from ossia.errors import CheckpointError

Layout = Literal["hugging-face", "dense", "original"]
LAYOUTS: tuple[Layout, ...] = ("hugging-face", "dense", "original")

FLOATS = ("BF16", "F16", "F32")
"""Published files hold BF16; fine-tunes also come in the others, and are taken as stored."""
BYTES = ("U8",)


class TensorPart(NamedTuple):
    """A tensor as part of a stored one."""

    name: str
    rows: int
    """Number of the stored rows (first axis) it takes, after those of earlier parts."""


class StoredTensor(NamedTuple):
    """A tensor as a layout stores it, and the tensors it contains."""

    name: str
    shape: tuple[int, ...]
    dtypes: tuple[str, ...]
    """Allowed types."""
    parts: tuple[TensorPart, ...]
    transposed: bool = False
    """Whether its last two axes are swapped."""


def detect_layout(names: Collection[str], where: str) -> Layout:
    """Detect the layout by the names of the tensors.

    Args:
        names: of the tensors stored.
        where: the folder, for the message.

    Raises:
        CheckpointError: the names match none of the three.
    """
    if "embedding.weight" in names:
        return "original"
    if "model.embed_tokens.weight" in names:
        packed = any(name.endswith(("_blocks", "_scales")) for name in names)
        return "hugging-face" if packed else "dense"
    raise CheckpointError(
        f"{where} holds neither model.embed_tokens.weight (Hugging Face) nor embedding.weight "
        "(OpenAI original); is this a gpt-oss model?"
    )


def is_packed(layout: Layout) -> bool:
    """Whether the layout stores the experts' matrices as MXFP4 blocks and scales."""
    return layout != "dense"


def stored_tensors(config: ModelConfig, layout: Layout) -> Iterator[StoredTensor]:
    """Yield every tensor of a checkpoint in this layout: embedding, layers in order, norm, head."""
    shapes = our_shapes(config, packed=is_packed(layout))
    yield _one(shapes, "embedding", _OUTSIDE["embedding"][layout == "original"])
    for i in range(config.num_hidden_layers):
        if layout == "original":
            yield from _original_layer(shapes, i)
        else:
            yield from _hugging_face_layer(shapes, i, packed=is_packed(layout))
    for ours in ("final_norm", "head"):
        yield _one(shapes, ours, _OUTSIDE[ours][layout == "original"])


def our_shapes(config: ModelConfig, *, packed: bool) -> dict[str, tuple[int, ...]]:
    """Return ossia's names of the tensors, in order, with their shapes.

    The rows of gate_up alternate: even ones are gates, odd ones the up rows of the same channel.
    """
    D, F, V = config.hidden_size, config.intermediate_size, config.vocab_size
    N, H = config.num_local_experts, config.num_attention_heads
    query, key = H * config.head_dim, config.num_key_value_heads * config.head_dim
    layer: dict[str, tuple[int, ...]] = {
        "attention_norm": (D,),
        "q_weight": (query, D),
        "q_bias": (query,),
        "k_weight": (key, D),
        "k_bias": (key,),
        "v_weight": (key, D),
        "v_bias": (key,),
        "sinks": (H,),
        "out_weight": (D, query),
        "out_bias": (D,),
        "expert_norm": (D,),
        "router_weight": (N, D),
        "router_bias": (N,),
    }
    for matrix, rows, columns in (("gate_up", 2 * F, D), ("down", D, F)):
        if packed:
            layer[f"{matrix}_blocks"] = (N, rows, columns // 32, 16)
            layer[f"{matrix}_scales"] = (N, rows, columns // 32)
        else:
            layer[f"{matrix}_weight"] = (N, rows, columns)
        layer[f"{matrix}_bias"] = (N, rows)
    shapes: dict[str, tuple[int, ...]] = {"embedding": (V, D)}
    for i in range(config.num_hidden_layers):
        shapes |= {f"layers.{i}.{name}": shape for name, shape in layer.items()}
    return shapes | {"final_norm": (D,), "head": (V, D)}


def _hugging_face_layer(
    shapes: Mapping[str, tuple[int, ...]], i: int, *, packed: bool
) -> Iterator[StoredTensor]:
    here, there = f"layers.{i}.", f"model.layers.{i}."
    for ours, (theirs, _) in _IN_EVERY_LAYER.items():
        yield _one(shapes, here + ours, there + theirs)
    for letter in "qkv":
        for kind in ("weight", "bias"):
            stored = f"{there}self_attn.{letter}_proj.{kind}"
            yield _one(shapes, f"{here}{letter}_{kind}", stored)
    for matrix in ("gate_up", "down"):
        stored = f"{there}mlp.experts.{matrix}_proj"
        if packed:
            yield _one(shapes, f"{here}{matrix}_blocks", f"{stored}_blocks")
            yield _one(shapes, f"{here}{matrix}_scales", f"{stored}_scales")
        else:
            yield _transposed(shapes, f"{here}{matrix}_weight", stored)
        yield _one(shapes, f"{here}{matrix}_bias", f"{stored}_bias")


def _original_layer(shapes: Mapping[str, tuple[int, ...]], i: int) -> Iterator[StoredTensor]:
    here, there = f"layers.{i}.", f"block.{i}."
    for ours, (_, theirs) in _IN_EVERY_LAYER.items():
        yield _one(shapes, here + ours, there + theirs)
    for kind in ("weight", "bias"):
        parts = [f"{here}{letter}_{kind}" for letter in "qkv"]
        yield _fused(shapes, parts, f"{there}attn.qkv.{kind}")
    for matrix, number in (("gate_up", 1), ("down", 2)):
        stored = f"{there}mlp.mlp{number}"
        yield _one(shapes, f"{here}{matrix}_blocks", f"{stored}_weight.blocks")
        yield _one(shapes, f"{here}{matrix}_scales", f"{stored}_weight.scales")
        yield _one(shapes, f"{here}{matrix}_bias", f"{stored}_bias")


def _one(shapes: Mapping[str, tuple[int, ...]], ours: str, stored: str) -> StoredTensor:
    return _fused(shapes, [ours], stored)


def _fused(shapes: Mapping[str, tuple[int, ...]], parts: list[str], stored: str) -> StoredTensor:
    rows = [shapes[ours][0] for ours in parts]
    dtypes = BYTES if parts[0].endswith(("_blocks", "_scales")) else FLOATS
    return StoredTensor(
        name=stored,
        shape=(sum(rows), *shapes[parts[0]][1:]),
        dtypes=dtypes,
        parts=tuple(TensorPart(ours, count) for ours, count in zip(parts, rows, strict=True)),
    )


def _transposed(shapes: Mapping[str, tuple[int, ...]], ours: str, stored: str) -> StoredTensor:
    """Whether a dense expert matrix is stored [expert, in, out]; ossia's are [expert, out, in]."""
    experts, rows, columns = shapes[ours]
    return StoredTensor(
        stored, (experts, columns, rows), FLOATS, (TensorPart(ours, experts),), transposed=True
    )


_OUTSIDE = {
    "embedding": ("model.embed_tokens.weight", "embedding.weight"),
    "final_norm": ("model.norm.weight", "norm.scale"),
    "head": ("lm_head.weight", "unembedding.weight"),
}
"""Our names outside the layers; Hugging Face's and OpenAI's."""

_IN_EVERY_LAYER = {
    "attention_norm": ("input_layernorm.weight", "attn.norm.scale"),
    "sinks": ("self_attn.sinks", "attn.sinks"),
    "out_weight": ("self_attn.o_proj.weight", "attn.out.weight"),
    "out_bias": ("self_attn.o_proj.bias", "attn.out.bias"),
    "expert_norm": ("post_attention_layernorm.weight", "mlp.norm.scale"),
    "router_weight": ("mlp.router.weight", "mlp.gate.weight"),
    "router_bias": ("mlp.router.bias", "mlp.gate.bias"),
}
"""Our names that are one stored tensor in every layout; Hugging Face's and OpenAI's."""
