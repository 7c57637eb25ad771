"""How far our logits are from transformers' GptOssForCausalLM, in float32, on random checkpoints.

    python -m benchmarks.parity [--backend cpu] [--long 4200] [--wide] [--json]

Every layout, lengths on both sides of the window, whole prompts and token by token. transformers
reads the packed checkpoint and widens MXFP4 itself, so it judges our unpacking too. --wide: two
layers of the real widths of 20b instead (12 GB of memory).
"""

import argparse
import dataclasses
import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.random_checkpoint import SHAPES, random_tensors
from ossia.checkpoint import ModelConfig, open_checkpoint, write_checkpoint
from ossia.model.forward_batch import ForwardBatch
from ossia.model.logits import compute_logits
from ossia.model.transformer import Transformer
from ossia.model.weights import prepare
from ossia.ops.cpu import KV_DTYPES
from ossia.ops.select import OpsOptions, select_ops

LAYOUTS = ("hugging-face", "dense", "original")
SHAPE = dataclasses.replace(SHAPES["tiny"], sliding_window=128, num_hidden_layers=4, layer_types=(
    "sliding_attention", "full_attention", "sliding_attention", "full_attention"))  # fmt: skip
WIDE = dataclasses.replace(
    SHAPES["20b"],
    num_hidden_layers=2,
    layer_types=("sliding_attention", "full_attention"),
    vocab_size=4096,
)
AROUND_THE_WINDOW = (1, 2, 127, 128, 129, 300)


def write_random(folder: Path, layout: str, config: ModelConfig = SHAPE, seed: int = 0) -> Path:
    """Write one of the random checkpoints compared here."""
    tensors = random_tensors(config, seed, packed=layout != "dense")
    write_checkpoint(folder, config, tensors, layout)
    return folder


def random_ids(count: int, vocab_size: int) -> list[int]:
    """Ids of one random text."""
    return [int(each) for each in np.random.default_rng(count).integers(0, vocab_size, count)]


def published(folder: Path) -> Any:
    """The published library's model of a Hugging Face folder: float32, eager attention."""
    import torch
    from transformers import GptOssForCausalLM, Mxfp4Config

    config = json.loads((folder / "config.json").read_text())
    kind = {"quantization_config": Mxfp4Config(dequantize=True)}
    model = GptOssForCausalLM.from_pretrained(
        folder,
        dtype=torch.float32,
        attn_implementation="eager",
        **(kind if "quantization_config" in config else {}),
    )
    return model.eval()


def published_logits(model: Any, ids: Sequence[int]) -> NDArray[np.float32]:
    """What transformers says, float32 [T, V]."""
    import torch

    with torch.no_grad():
        logits: NDArray[np.float32] = model(torch.tensor([list(ids)])).logits[0].numpy()
    return logits


def ours(folder: Path, backend: str, options: OpsOptions) -> Transformer[Any]:
    """Our model of any folder."""
    checkpoint = open_checkpoint(folder)
    ops = select_ops(backend, options)
    return Transformer(checkpoint.config, ops, prepare(checkpoint.config, ops, checkpoint.tensors))


def distance(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """Relative L2 distance."""
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def compare(
    backend: str, options: OpsOptions, config: ModelConfig, lengths: Sequence[int]
) -> Iterator[dict[str, Any]]:
    """One row for each layout, length and way of reading."""
    with tempfile.TemporaryDirectory() as parent:
        layouts = LAYOUTS if config is SHAPE else LAYOUTS[:1]
        folders = {name: write_random(Path(parent) / name, name, config) for name in layouts}
        for layout in layouts:
            # the original layout holds the packed one's weights; transformers cannot read it
            judge = published(folders["dense" if layout == "dense" else "hugging-face"])
            model = ours(folders[layout], backend, options)
            for count in lengths:
                ids = random_ids(count, model.config.vocab_size)
                expected = published_logits(judge, ids)
                row = {
                    "backend": backend,
                    "weights": options.weights,
                    "kv": options.resolved_kv_dtype,
                    "layout": layout,
                    "tokens": count,
                }
                batch = ForwardBatch.without_cache([ids], window=model.config.sliding_window)
                whole = model.ops.to_numpy(model.forward(batch, None))
                yield row | {"read": "whole", "distance": distance(whole, expected)}
                for chunk in (1, 100):
                    by_chunk = compute_logits(model, ids, chunk=chunk)
                    yield row | {"read": f"by {chunk}", "distance": distance(by_chunk, expected)}


def main() -> None:
    """Print the rows and the worst of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", default="cpu")
    parser.add_argument("--kv-dtype", default="float32", choices=KV_DTYPES)
    parser.add_argument("--weights", default="bf16", choices=("bf16", "int8", "lean"))
    parser.add_argument("--isa", default="auto")
    parser.add_argument("--long", type=int, default=4200)
    parser.add_argument("--wide", action="store_true")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    options = OpsOptions(weights=args.weights, kv_dtype=args.kv_dtype, isa=args.isa)
    lengths = AROUND_THE_WINDOW if args.wide else (*AROUND_THE_WINDOW, args.long)
    rows = []
    for row in compare(args.backend, options, WIDE if args.wide else SHAPE, lengths):
        rows.append(row)
        shown = json.dumps(row) if args.json else "  ".join(str(each) for each in row.values())
        print(shown, flush=True)
    print(json.dumps({"worst": max(row["distance"] for row in rows), "rows": len(rows)}))


if __name__ == "__main__":
    main()
