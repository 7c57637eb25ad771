"""Random weights of any gpt-oss shape: `python -m benchmarks.random_checkpoint --out FOLDER`.

They make no sense, but flow as real ones do: activations stay near 1 through every layer, and the
router uses all experts. A folder written here has no tokenizer and opens for work in token ids.
"""

import argparse
import dataclasses
import json
import math
import sys
import time
import zlib
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from ossia.checkpoint import LAYOUTS, ModelConfig, counts, our_shapes, write_checkpoint
from ossia.errors import CheckpointError

POOL_SIZE, RUN_SIZE = 2**23, 2**21
"""Numbers drawn once; large tensors are pieced together from runs of them, at memory speed."""
E2M1_RMS = 2.926
"""Root mean square of an MXFP4 value whose 4 bits are random and whose scale is 1."""


def _shape(*, layers: int, experts: int, vocab_size: int, **sizes: int) -> ModelConfig:
    return ModelConfig(
        num_hidden_layers=layers,
        num_local_experts=experts,
        num_experts_per_tok=4,
        vocab_size=vocab_size,
        layer_types=_layer_types(layers),
        rope_theta=150_000.0,
        rope_factor=32.0,
        rope_beta_fast=32.0,
        rope_beta_slow=1.0,
        rope_original_max_position_embeddings=4096,
        rope_truncate=False,
        max_position_embeddings=131_072,
        rms_norm_eps=1e-5,
        swiglu_limit=7.0,
        swiglu_alpha=1.702,
        **sizes,
    )


def _layer_types(layers: int) -> tuple[str, ...]:
    return tuple(("sliding_attention", "full_attention")[i % 2] for i in range(layers))


_PUBLISHED = {
    "vocab_size": 201_088,
    "hidden_size": 2880,
    "intermediate_size": 2880,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "sliding_window": 128,
}
_TINY = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "sliding_window": 16,
}

SHAPES: Mapping[str, ModelConfig] = MappingProxyType(
    {
        "20b": _shape(layers=24, experts=32, **_PUBLISHED),
        "120b": _shape(layers=36, experts=128, **_PUBLISHED),
        "tiny": _shape(layers=2, experts=8, vocab_size=512, **_TINY),
        "tiny-chat": _shape(layers=2, experts=8, vocab_size=201_088, **_TINY),
    }
)
"""`tiny` has no two sizes alike, so that a swapped axis shows; `tiny-chat` takes every token id."""


class RandomTensors(Mapping[str, NDArray[Any]]):
    """All tensors of a model under the house's names, each made anew whenever it is asked for.

    The same config and seed give the same bytes, in any order; a layer does not depend on how
    many follow it.
    """

    def __init__(self, config: ModelConfig, seed: int, *, packed: bool) -> None:
        self._config = config
        self._seed = seed
        self._shapes = our_shapes(config, packed=packed)
        self._pools: dict[float | str, NDArray[Any]] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(self._shapes)

    def __len__(self) -> int:
        return len(self._shapes)

    def __getitem__(self, name: str) -> NDArray[Any]:
        """The tensor: bfloat16, or uint8 for blocks and scales; the caller's to keep."""
        shape = self._shapes[name]
        rng = np.random.default_rng([self._seed, zlib.crc32(name.encode())])
        kind = name.rsplit(".", 1)[-1]
        if kind.endswith("_blocks"):
            return self._pieced(rng, shape, "bytes")
        if kind.endswith("_scales"):
            exponent = round(math.log2(self._spread(kind, 32 * shape[-1]) / E2M1_RMS))
            return np.uint8(126 + exponent) + self._pieced(rng, shape, "bytes") % np.uint8(3)
        if kind.endswith("_norm"):
            return (1 + 0.1 * rng.standard_normal(shape, np.float32)).astype(ml_dtypes.bfloat16)
        if kind in ("gate_up_weight", "down_weight"):  # as such files lie: [expert, in, out]
            experts, rows, columns = shape
            values = self._normal(rng, (experts, columns, rows), self._spread(kind, columns))
            return values.swapaxes(-1, -2)
        return self._normal(rng, shape, self._spread(kind, shape[-1]))

    def _spread(self, kind: str, inputs: int) -> float:
        """Standard deviation of a tensor, given how many inputs each output sums over."""
        if kind in ("embedding", "sinks"):
            return 1.0
        if kind.endswith("_bias"):
            return 0.02
        if kind == "head":
            return 3.0 / math.sqrt(inputs)  # scores differ, so that sampling has a choice to make
        if kind.startswith(("out_", "down_")):  # so that 2 L of them together add about 1
            inputs *= 2 * self._config.num_hidden_layers
        return 1.0 / math.sqrt(inputs)

    def _normal(
        self, rng: np.random.Generator, shape: tuple[int, ...], spread: float
    ) -> NDArray[Any]:
        if math.prod(shape) > RUN_SIZE:
            return self._pieced(rng, shape, spread)
        values = spread * rng.standard_normal(shape, np.float32)
        return values.astype(ml_dtypes.bfloat16)

    def _pieced(
        self, rng: np.random.Generator, shape: tuple[int, ...], pool_of: float | str
    ) -> NDArray[Any]:
        """A large tensor out of runs of a pool, from random places in it."""
        pool = self._pool(pool_of)
        flat = np.empty(math.prod(shape), pool.dtype)
        for start in range(0, len(flat), RUN_SIZE):
            place = rng.integers(len(pool) - RUN_SIZE)
            piece = flat[start : start + RUN_SIZE]
            piece[:] = pool[place : place + len(piece)]
        return flat.reshape(shape)

    def _pool(self, pool_of: float | str) -> NDArray[Any]:
        """Random bytes, or bfloat16 normal numbers of a spread; drawn once."""
        if pool_of not in self._pools:
            rng = np.random.default_rng(self._seed)
            if pool_of == "bytes":
                self._pools[pool_of] = np.frombuffer(rng.bytes(POOL_SIZE), np.uint8)
            else:
                normal = np.float32(pool_of) * rng.standard_normal(POOL_SIZE, np.float32)
                self._pools[pool_of] = normal.astype(ml_dtypes.bfloat16)
        return self._pools[pool_of]


def random_tensors(config: ModelConfig, seed: int, *, packed: bool = True) -> RandomTensors:
    """Random weights for `write_checkpoint`, or to compute with.

    Args:
        config: the shapes; see `SHAPES`.
        seed: the same seed, the same bytes.
        packed: the experts' matrices as MXFP4 blocks and scales, or as dense bfloat16.
    """
    return RandomTensors(config, seed, packed=packed)


def _config(arguments: argparse.Namespace) -> ModelConfig:
    config = SHAPES[arguments.shape]
    layers = arguments.layers or config.num_hidden_layers
    return dataclasses.replace(
        config,
        num_hidden_layers=layers,
        layer_types=_layer_types(layers),
        vocab_size=arguments.vocab or config.vocab_size,
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.random_checkpoint", description=__doc__
    )
    parser.add_argument("--shape", choices=SHAPES, default="tiny")
    parser.add_argument("--layout", choices=LAYOUTS, default="hugging-face")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="may not hold one yet")
    parser.add_argument("--layers", type=int, help="fewer or more layers than the shape has")
    parser.add_argument("--vocab", type=int, help="another number of rows for embedding and head")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shards", type=int, help="files to aim at; as a rule one for each 5 GB")
    return parser.parse_args()


def main() -> int:
    """Write the folder; print what was written as one JSON object."""
    arguments = _arguments()
    packed = arguments.layout != "dense"
    began = time.perf_counter()
    try:
        config = _config(arguments)
        num_bytes = counts.checkpoint_bytes(config, packed=packed)
        write_checkpoint(
            arguments.out,
            config,
            random_tensors(config, arguments.seed, packed=packed),
            arguments.layout,
            shards=arguments.shards or math.ceil(num_bytes / 5e9),
        )
    except CheckpointError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    seconds = time.perf_counter() - began
    report = {
        "folder": arguments.out,
        "tensor_bytes": num_bytes,
        "seconds": round(seconds, 2),
        "megabytes_per_second": round(num_bytes / seconds / 1e6, 1),
    }
    print(json.dumps(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
