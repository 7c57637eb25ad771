"""How fast the C++ kernels read weights and multiply, at the shapes of gpt-oss-20b.

    python -m benchmarks.kernels [--threads 2] [--isa avx2 plain] [--weights int8 lean bf16]
        [--tokens 1 4 16] [--repeats 5]

Attention has a command of its own, benchmarks.attention. Weights are random and larger than the
caches; the best of the repeats counts. Beside the kernels stand what memory and arithmetic allow
here: a plain read of DRAM, and numpy's matrix product in float32.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle, product

import ml_dtypes
import numpy as np

from ossia.cli.measure import read_bytes_per_second
from ossia.ops.api import Routing
from ossia.ops.cpu import CpuOps, isas, usable_cores
from ossia.ops.mxfp4 import Mxfp4
from ossia.ops.weights import ExpertWeights

WIDTH, HEADS, KV_HEADS, CHANNELS, EXPERTS, ACTIVE = 2880, 64, 8, 64, 32, 4
MIXED = HEADS * CHANNELS
HEAD_ROWS = 40_000
BYTES = {"bf16": 2, "int8": 34 / 32, "mxfp4": 17 / 32}
"""Of a weight, its scale included."""
ATTENTION = {"bf16": "bf16", "int8": "int8", "lean": "mxfp4"}
"""How each choice of weights stores those of the attention."""


@dataclass(frozen=True)
class Work:
    """One kernel: how to run it once, what it reads and multiplies."""

    name: str
    run: Callable[[], object]
    gigabytes: float
    giga_products: float


def best_seconds(run: Callable[[], object], repeats: int) -> float:
    """The shortest of `repeats` runs, after one that does not count."""
    run()
    seconds = []
    for _ in range(repeats):
        begin = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - begin)
    return min(seconds)


def giga_products_a_second(repeats: int) -> float:
    """A large float32 matrix product of numpy's own BLAS, on the threads it takes."""
    size = 2048
    square = np.ones((size, size), np.float32)
    return size**3 / best_seconds(lambda: square @ square, repeats) / 1e9


def bfloat16(random: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """Small random weights, made of random bits: quick, and never infinite."""
    bits = random.integers(0, 0x3C00, (rows, columns), np.uint16)
    return bits.view(ml_dtypes.bfloat16)


def packed(random: np.random.Generator, rows: int, columns: int) -> Mxfp4:
    """One random MXFP4 matrix for each expert."""
    blocks = random.integers(0, 256, (EXPERTS, rows, columns // 32, 16), np.uint8)
    return Mxfp4(blocks, random.integers(118, 122, blocks.shape[:3], np.uint8))


class Layer:
    """Random weights of one layer, of a few output projections, and of a part of the head."""

    def __init__(self) -> None:
        self.random = np.random.default_rng(0)
        zeros = np.zeros(WIDTH, np.float32)
        self.outs = [(bfloat16(self.random, WIDTH, MIXED), zeros) for _ in range(4)]
        self.head = (np.ones(WIDTH, np.float32), bfloat16(self.random, HEAD_ROWS, WIDTH), 1e-5)
        self.experts = ExpertWeights(
            gate_up_NUD=packed(self.random, 2 * WIDTH, WIDTH),
            gate_up_bias_NU=np.zeros((EXPERTS, 2 * WIDTH), np.float32),
            down_NDF=packed(self.random, WIDTH, WIDTH),
            down_bias_ND=np.zeros((EXPERTS, WIDTH), np.float32),
            limit=7.0,
            alpha=1.702,
        )

    def works(self, ops: CpuOps, tokens: int) -> list[Work]:
        """Every kernel that reads much, at this many tokens."""
        return [
            self.out(ops, tokens),
            self.mix(ops, tokens),
            self.unembed(ops, tokens),
        ]

    def normal(self, *shape: int) -> np.ndarray:
        """Activations."""
        return self.random.standard_normal(shape, dtype=np.float32)

    def out(self, ops: CpuOps, tokens: int) -> Work:
        """One of four output projections in turn: together larger than the caches."""
        hidden_TD, attention_TE = self.normal(tokens, WIDTH), self.normal(tokens, MIXED)
        outs = cycle([ops.prepare_out(*out) for out in self.outs])
        size = WIDTH * MIXED
        kind = ATTENTION[ops.weights]
        return Work(
            f"project_out {kind}",
            lambda: ops.project_out(hidden_TD, attention_TE, next(outs)),
            BYTES[kind] * size / 1e9,
            tokens * size / 1e9,
        )

    def mix(self, ops: CpuOps, tokens: int) -> Work:
        """Other experts each time; the bytes are those of the experts in use."""
        hidden_TD, experts = self.normal(tokens, WIDTH), ops.prepare_experts(self.experts)
        choices = [
            self.random.permuted(np.tile(np.arange(EXPERTS, dtype=np.int32), (tokens, 1)), axis=1)
            for _ in range(8)
        ]
        routes = [
            Routing(
                hidden_TD, np.ascontiguousarray(each[:, :ACTIVE]), np.ones((tokens, ACTIVE), "f")
            )
            for each in choices
        ]
        used = sum(len(np.unique(routing.expert_TA)) for routing in routes) / len(routes)
        turn, size = cycle(routes), 3 * WIDTH * WIDTH
        return Work(
            "moe mxfp4",
            lambda: ops.moe(hidden_TD, next(turn), experts),
            used * size * BYTES["mxfp4"] / 1e9,
            tokens * ACTIVE * size / 1e9,
        )

    def unembed(self, ops: CpuOps, tokens: int) -> Work:
        """A fifth of the head."""
        hidden_TD, row_R = self.normal(tokens, WIDTH), np.arange(tokens, dtype=np.int32)
        head, size = ops.prepare_unembed(*self.head), HEAD_ROWS * WIDTH
        name, score = (
            ("unembed bf16", ops.unembed) if head.scan is None else ("scan mxfp4", ops.scan)
        )
        return Work(
            name,
            lambda: score(hidden_TD, row_R, head),
            BYTES[name.split()[1]] * size / 1e9,
            tokens * size / 1e9,
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--isa", nargs="+", default=isas(), choices=isas())
    parser.add_argument("--weights", nargs="+", default=["int8", "bf16"], choices=list(ATTENTION))
    parser.add_argument("--tokens", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()

    layer = Layer()
    memory = read_bytes_per_second(options.threads, options.repeats) / 1e9
    arithmetic = giga_products_a_second(options.repeats)
    print(f"threads {options.threads}; DRAM read {memory:.1f} GB/s; sgemm {arithmetic:.1f} GMAC/s")
    print(f"{'isa':8}{'weights':8}{'tokens':>7}  {'kernel':20}{'GB/s':>8}{'GMAC/s':>8}{'ms':>9}")
    for isa, weights in product(options.isa, options.weights):
        ops = CpuOps(options.threads, isa, weights=weights)
        for tokens in options.tokens:
            for work in layer.works(ops, tokens):
                seconds = best_seconds(work.run, options.repeats)
                print(
                    f"{isa:8}{weights:8}{tokens:7}  {work.name:20}{work.gigabytes / seconds:8.1f}"
                    f"{work.giga_products / seconds:8.1f}{seconds * 1e3:9.2f}"
                )


if __name__ == "__main__":
    main()
