"""How fast the C++ attention reads keys and values and multiplies, in a full layer of gpt-oss-20b.

    python -m benchmarks.attention [--kv bfloat16 int8] [--context 1024 16384] [--tokens 1 512]

The last tokens of one text look back at all of it. The twelve full layers take turns, so that a
single token finds its keys in DRAM, not in a cache; the best of the repeats counts.
"""

import argparse
from itertools import cycle

import numpy as np

from benchmarks.kernels import (
    CHANNELS,
    HEADS,
    KV_HEADS,
    MIXED,
    Work,
    best_seconds,
    giga_products_a_second,
)
from ossia.cli.measure import read_bytes_per_second
from ossia.ops.api import AttentionMetadata
from ossia.ops.cpu import KV_DTYPES, CpuOps, isas, usable_cores

LAYERS = 12
PAGE_TOKENS = 64
NUMBER = 0x11
"""A byte of which every kind of page makes small numbers."""


def attend(ops: CpuOps, tokens: int, context: int, *, window: int) -> Work:
    """The last `tokens` of one text of `context` tokens, a layer after another."""
    random = np.random.default_rng(0)
    query = random.standard_normal((tokens, KV_HEADS, HEADS // KV_HEADS, CHANNELS), np.float32)
    key, value = random.standard_normal((2, tokens, KV_HEADS, CHANNELS), np.float32)
    num_pages = -(-context // PAGE_TOKENS)
    layers = [ops.new_pages(num_pages, PAGE_TOKENS, KV_HEADS, CHANNELS) for _ in range(LAYERS)]
    for pages in layers:
        pages.bytes_PKY.fill(NUMBER)  # memory that nobody wrote is one page, and in the cache
    zero, sinks = np.zeros(1, np.int32), ops.prepare_sinks(np.zeros(HEADS), KV_HEADS)
    metadata = AttentionMetadata(
        first_Q=zero,
        count_Q=zero + tokens,
        past_Q=zero + context - tokens,
        page_QP=random.permutation(num_pages).astype(np.int32)[None],
        window=window,
    )
    turn = cycle(layers)
    seen = np.minimum(np.arange(context - tokens, context) + 1, window)
    touched = min(context, window + tokens - 1)
    return Work(
        f"{ops.kv_dtype}, {context} keys, window {min(window, context)}",
        lambda: ops.attend(query, key, value, metadata, next(turn), sinks),
        touched / context * layers[0].bytes_PKY.nbytes / 1e9,
        2 * MIXED * int(seen.sum()) / 1e9,
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--isa", default=isas()[0], choices=isas())
    parser.add_argument("--kv", nargs="+", default=KV_DTYPES, choices=KV_DTYPES)
    parser.add_argument("--context", type=int, nargs="+", default=[1024, 4096, 16384])
    parser.add_argument("--tokens", type=int, nargs="+", default=[1, 128, 512])
    parser.add_argument("--window", type=int, default=1 << 20)
    parser.add_argument("--repeats", type=int, default=24)
    options = parser.parse_args()

    print(f"{'tokens':>7}  {'keys and values':36}{'GB/s':>8}{'GMAC/s':>8}{'ms':>9}")
    for kv_dtype in options.kv:
        ops = CpuOps(options.threads, options.isa, kv_dtype)
        for context in options.context:
            for tokens in options.tokens:
                work = attend(ops, min(tokens, context), context, window=options.window)
                seconds = best_seconds(work.run, options.repeats)
                print(
                    f"{tokens:7}  {work.name:36}{work.gigabytes / seconds:8.1f}"
                    f"{work.giga_products / seconds:8.1f}{seconds * 1e3:9.3f}",
                    flush=True,
                )
    # last: numpy's threads wait busily for a while after a product
    memory = read_bytes_per_second(options.threads, 5) / 1e9
    arithmetic = giga_products_a_second(5)
    print(f"threads {options.threads}; DRAM read {memory:.1f} GB/s; sgemm {arithmetic:.1f} GMAC/s")


if __name__ == "__main__":
    main()
