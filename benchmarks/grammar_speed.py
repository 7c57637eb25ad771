"""What holding content to a schema costs, at nano's vocabulary and at gpt-oss's.

    python -m benchmarks.grammar_speed [--rounds 30] [--many 0]

A mask is worked out anew for every token of one answer, unpacked to one bool an id; each content
begins cold. `--many` compiles so many different schemas and tells how far memory grew.
"""

import argparse
import json
import resource
import time
from collections.abc import Callable

import numpy as np

from ossia.checkpoint.find import find_model
from ossia.grammar.content import GrammarCompiler
from ossia.harmony.tokenizer import Tokenizer

SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "tags": {"type": "array", "items": {"type": "string", "maxLength": 20}},
        "day": {"type": "string", "format": "date"},
    },
    "required": ["name", "age", "tags", "day"],
    "additionalProperties": False,
}
ANSWER = '{"name": "Anna Maria was here", "age": 12, "tags": ["a b", "c"], "day": "2024-02-29"}'


def seconds(work: Callable[[], object]) -> float:
    """How long a piece of work takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def measure(tokenizer: Tokenizer, vocab_size: int, rounds: int) -> dict[str, float]:
    """Times in milliseconds, of masks in microseconds: the median, the mean and the slowest."""
    with GrammarCompiler(tokenizer.token_bytes, vocab_size=vocab_size) as grammars:
        warm = seconds(grammars.warm)
        first = seconds(lambda: grammars.compile({"type": "null"}))
        compiled = [
            seconds(lambda limit=limit: grammars.compile({**SCHEMA, "maxProperties": limit}))
            for limit in range(4, 14)
        ]
        grammar = grammars.compile(SCHEMA)
        ids = tokenizer.encode(ANSWER)
        masks = np.empty((rounds, len(ids)))
        for row in masks:
            matcher = grammar.start()
            for at, token_id in enumerate(ids):
                row[at] = seconds(matcher.mask)
                matcher.accept(token_id)
            assert matcher.must_end
    best = masks.min(axis=0) * 1e6  # of a token; other work on the machine is not ours
    return {
        "warm_ms": warm * 1e3,
        "first_compile_ms": first * 1e3,
        "compile_ms": min(compiled) * 1e3,
        "mask_us_median": float(np.median(best)),
        "mask_us_mean": float(best.mean()),
        "mask_us_worst": float(best.max()),
    }


def growth(count: int) -> dict[str, float]:
    """Mebibytes gained by many different schemas, and what one took."""
    bytes_alone = [bytes([byte]) for byte in range(256)]
    with GrammarCompiler(lambda: bytes_alone, vocab_size=257) as grammars:
        for length in range(300):  # fills what is kept
            grammars.compile({"type": "string", "maxLength": length})
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        began = time.perf_counter()
        for number in range(count):
            named = {f"p{number}": {"type": "null"}, "name": {"type": "string", "maxLength": 20}}
            grammars.compile({"type": "object", "properties": named, "required": ["name"]})
        took = time.perf_counter() - began
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {"schemas": count, "grown_mib": grown / 1024, "ms_each": took / count * 1e3}


def main() -> None:
    """Print one line for each vocabulary."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--many", type=int, default=0)
    args = parser.parse_args()
    nano = Tokenizer.from_file(find_model("nano") / "tokenizer.json")
    for name, tokenizer, size in (
        ("nano", nano, nano.size),
        ("o200k_harmony", Tokenizer.o200k_harmony(), 201_088),
    ):
        found = measure(tokenizer, size, args.rounds)
        print(name, json.dumps({key: round(value, 2) for key, value in found.items()}))
    if args.many:
        print("many", json.dumps(growth(args.many)))


if __name__ == "__main__":
    main()
