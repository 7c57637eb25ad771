"""Writes a gpt-oss checkpoint as a GGUF file, so that llama.cpp can run the very same weights.

    python -m benchmarks.gguf_checkpoint --from FOLDER --out FILE.gguf [--format F32]

Q8_0, as the published files are: experts keep their MXFP4 values bit for bit; embedding, attention
and head are Q8_0; norms, biases, sinks and router float32. F32: every weight widened exactly, to
check on a small model that both compute the same network. There is no tokenizer in it: the file
opens for work in token ids. --spelt adds the tokens' texts, enough for llama.cpp's server to answer
prompts of ids in words.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from gguf import (
    GGMLQuantizationType,
    GGUFWriter,
    LlamaFileType,
    RopeScalingType,
    TokenType,
    quants,
)
from gguf.constants import GGML_QUANT_SIZES, GGML_QUANT_VERSION
from numpy.typing import NDArray

from ossia.checkpoint import ModelConfig, open_checkpoint
from ossia.errors import CheckpointError
from ossia.ops.mxfp4 import Mxfp4, unpack

ARCHITECTURE = "gpt-oss"
FORMATS = {"Q8_0": LlamaFileType.MOSTLY_Q8_0, "F32": LlamaFileType.ALL_F32}
ROWS_AT_ONCE = 8192
"""A large table is never whole in float32."""

_LAYER = {
    "attn_norm": "attention_norm",
    "attn_q": "q",
    "attn_k": "k",
    "attn_v": "v",
    "attn_sinks": "sinks",
    "attn_output": "out",
    "post_attention_norm": "expert_norm",
    "ffn_gate_inp": "router",
}
"""What GGUF calls each tensor of a layer, and what we call it; the experts are cut anew."""
_ROUNDED = ("q", "k", "v", "out")


@dataclass(frozen=True, slots=True)
class Entry:
    """One tensor of the file; its bytes are made when they are written."""

    name: str
    shape: tuple[int, ...]
    kind: GGMLQuantizationType
    make: Callable[[], NDArray[Any]]

    @property
    def num_bytes(self) -> int:
        """Bytes in the file."""
        block, size = GGML_QUANT_SIZES[self.kind]
        return int(np.prod(self.shape)) // block * size


def entries(
    config: ModelConfig, tensors: Mapping[str, NDArray[Any]], rounded: GGMLQuantizationType
) -> Iterator[Entry]:
    """Every tensor of the file, in the order of the file."""
    exact = GGMLQuantizationType.F32

    def plain(name: str, ours: str, kind: GGMLQuantizationType) -> Entry:
        return Entry(name, tensors[ours].shape, kind, lambda: in_format(tensors[ours], kind))

    yield plain("token_embd.weight", "embedding", rounded)
    for index in range(config.num_hidden_layers):
        here, there = f"layers.{index}.", f"blk.{index}."
        for name, ours in _LAYER.items():
            if f"{here}{ours}" in tensors:
                yield plain(f"{there}{name}.weight", here + ours, exact)
                continue
            kind = rounded if ours in _ROUNDED else exact
            yield plain(f"{there}{name}.weight", f"{here}{ours}_weight", kind)
            yield plain(f"{there}{name}.bias", f"{here}{ours}_bias", exact)
        yield from _experts(tensors, here, there, widen=rounded == exact)
    yield plain("output_norm.weight", "final_norm", exact)
    yield plain("output.weight", "head", rounded)


def _experts(
    tensors: Mapping[str, NDArray[Any]], here: str, there: str, *, widen: bool
) -> Iterator[Entry]:
    """Gates and ups alternate in our rows and stand apart in the file's."""
    exact, packed = GGMLQuantizationType.F32, GGMLQuantizationType.MXFP4
    for name, matrix, rows in (
        ("ffn_gate_exps", "gate_up", slice(0, None, 2)),
        ("ffn_up_exps", "gate_up", slice(1, None, 2)),
        ("ffn_down_exps", "down", slice(None)),
    ):
        blocks = tensors[f"{here}{matrix}_blocks"][:, rows]
        stored = Mxfp4(blocks, tensors[f"{here}{matrix}_scales"][:, rows])
        bias = tensors[f"{here}{matrix}_bias"][:, rows]
        if widen:
            yield Entry(f"{there}{name}.weight", stored.shape, exact, partial(unpack, stored))
        else:
            yield Entry(f"{there}{name}.weight", stored.shape, packed, partial(in_blocks, stored))
        yield Entry(f"{there}{name}.bias", bias.shape, exact, partial(np.asarray, bias, np.float32))


def in_blocks(stored: Mxfp4) -> NDArray[np.uint8]:
    """MXFP4 as GGUF keeps it: a scale, then 16 bytes of value j (low nibble) and 16 + j (high)."""
    packed = np.empty((*stored.scales.shape, 17), np.uint8)
    packed[..., 0] = stored.scales
    for expert, blocks in enumerate(stored.blocks):  # one at a time: the codes take twice the bytes
        code = np.empty((*blocks.shape[:-1], 32), np.uint8)
        code[..., 0::2] = blocks & 15
        code[..., 1::2] = blocks >> 4
        packed[expert, ..., 1:] = code[..., :16] | code[..., 16:] << 4
    return packed


def in_format(weight: NDArray[Any], kind: GGMLQuantizationType) -> NDArray[Any]:
    """Float weights in a format of GGUF, rounded by its own package."""
    if weight.ndim == 1:
        return np.asarray(weight, np.float32)
    pieces = (weight[row : row + ROWS_AT_ONCE] for row in range(0, len(weight), ROWS_AT_ONCE))
    return np.concatenate(
        [quants.quantize(np.asarray(piece, np.float32), kind) for piece in pieces]
    )


def _add_spelling(writer: GGUFWriter, tokenizer: Path, vocab_size: int) -> None:
    """What each id spells. Splitting text is left at GPT-2's: prompts are to be given as ids."""
    spec = json.loads(tokenizer.read_text())
    texts = [f"<|unused_{each}|>" for each in range(vocab_size)]
    kinds = [TokenType.UNUSED] * vocab_size
    for text, token_id in spec["model"]["vocab"].items():
        texts[token_id], kinds[token_id] = text, TokenType.NORMAL
    for added in spec["added_tokens"]:
        texts[added["id"]], kinds[added["id"]] = added["content"], TokenType.CONTROL
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(texts)
    writer.add_token_types(kinds)
    writer.add_token_merges([" ".join(pair) for pair in spec["model"]["merges"]])
    writer.add_eos_token_id(texts.index("<|return|>"))


def _add_facts(writer: GGUFWriter, config: ModelConfig, form: str) -> None:
    """Everything that llama.cpp must know beside the tensors."""
    writer.add_file_type(FORMATS[form])
    writer.add_quantization_version(GGML_QUANT_VERSION)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_expert_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_sliding_window(config.sliding_window)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_expert_count(config.num_local_experts)
    writer.add_expert_used_count(config.num_experts_per_tok)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_rope_scaling_type(RopeScalingType.YARN)
    writer.add_rope_scaling_factor(config.rope_factor)
    writer.add_rope_scaling_orig_ctx_len(config.rope_original_max_position_embeddings)
    writer.add_rope_scaling_yarn_beta_fast(config.rope_beta_fast)
    writer.add_rope_scaling_yarn_beta_slow(config.rope_beta_slow)
    writer.add_vocab_size(config.vocab_size)


def write_gguf(
    path: Path,
    config: ModelConfig,
    tensors: Mapping[str, NDArray[Any]],
    form: str = "Q8_0",
    tokenizer: Path | None = None,
) -> int:
    """Write the file, one tensor in memory at a time; return the bytes of all tensors.

    Args:
        path: of the file; an old one is replaced.
        config: the model's shape.
        tensors: by the house's names, experts packed; mapped views are read once, in order.
        form: a key of `FORMATS`.
        tokenizer: a tokenizer.json, whose spelling is written too.
    """
    plan = list(entries(config, tensors, GGMLQuantizationType[form]))
    writer = GGUFWriter(path, ARCHITECTURE)
    _add_facts(writer, config, form)
    if tokenizer is None:
        writer.add_tokenizer_model("no_vocab")
    else:
        _add_spelling(writer, tokenizer, config.vocab_size)
    for entry in plan:
        writer.add_tensor_info(
            entry.name, entry.shape, np.dtype(np.float32), entry.num_bytes, entry.kind
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for entry in plan:
        writer.write_tensor_data(entry.make())
    writer.close()
    return sum(entry.num_bytes for entry in plan)


def main() -> int:
    """Write the file; print what was written as one JSON object."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gguf_checkpoint", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--from", required=True, dest="folder", metavar="FOLDER")
    parser.add_argument("--out", required=True, type=Path, metavar="FILE")
    parser.add_argument("--format", choices=FORMATS, default="Q8_0")
    parser.add_argument("--spelt", action="store_true", help="with the tokens' texts")
    args = parser.parse_args()
    began = time.perf_counter()
    try:
        checkpoint = open_checkpoint(args.folder)
    except CheckpointError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    tokenizer = checkpoint.tokenizer_path if args.spelt else None
    num_bytes = write_gguf(args.out, checkpoint.config, checkpoint.tensors, args.format, tokenizer)
    seconds = round(time.perf_counter() - began, 1)
    print(json.dumps({"file": str(args.out), "tensor_bytes": num_bytes, "seconds": seconds}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
