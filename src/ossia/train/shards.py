"""Batches of examples on disk: `python -m ossia.train.shards --tokenizer FILE --out FOLDER`.

Files of 16-bit numbers, each with its hash beside it. What is not on disk is drawn on the spot, and
is the same; files fix what a long run has learned from.
"""

import argparse
import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ossia.errors import CheckpointError
from ossia.harmony.tokenizer import Tokenizer
from ossia.train.batches import CONTEXT_WEIGHT, EFFORT_SHARES, TrainingExample, draw_examples

EXAMPLES_PER_BATCH = 48
"""Fewest examples in a batch: about 7,000 tokens."""
BATCHES = 200
"""Batches in a file."""
WEIGHTS = (0.0, CONTEXT_WEIGHT, 1.0)
_EFFORTS = tuple(EFFORT_SHARES)


@dataclass(frozen=True, slots=True)
class ExampleSource:
    """What determines every training batch."""

    tokenizer: Tokenizer
    seed: int
    folder: Path | None = None

    def examples(self, number: int) -> list[TrainingExample]:
        """The examples of one batch, from its file if there is one.

        Raises:
            CheckpointError: the file is not what was written, or belongs to another run.
        """
        if self.folder is None or not _path(self.folder, number // BATCHES).exists():
            return draw_examples(
                self.tokenizer,
                seed=self.seed,
                number=number,
                examples=EXAMPLES_PER_BATCH,
                split="train",
            )
        return _read(self, self.folder, number)


def _read(source: ExampleSource, folder: Path, number: int) -> list[TrainingExample]:
    """One batch of a file; the whole file is checked, which takes a hundredth of a step."""
    shard, nth = divmod(number, BATCHES)
    path = _path(folder, shard)
    raw = path.read_bytes()
    record = json.loads(path.with_suffix(".json").read_text())
    ours = _provenance(source, shard)
    if hashlib.sha256(raw).hexdigest() != record["sha256"] or any(
        record[key] != value for key, value in ours.items()
    ):
        raise CheckpointError(f"{path} is not of this run, or damaged; delete it")
    stream_X = np.frombuffer(raw, "<u2")
    begin, end = [*record["offsets"], len(stream_X)][nth : nth + 2]
    return _unpack(stream_X[begin:end])


def write_shard(source: ExampleSource, shard: int) -> dict[str, Any]:
    """Generate and write one file atomically; return its metadata."""
    assert source.folder is not None
    path = _path(source.folder, shard)
    pieces: list[NDArray[np.uint16]] = []
    offsets, place, tokens = [], 0, 0
    for number in range(shard * BATCHES, (shard + 1) * BATCHES):
        examples = draw_examples(
            source.tokenizer,
            seed=source.seed,
            number=number,
            examples=EXAMPLES_PER_BATCH,
            split="train",
        )
        pieces.append(_pack(examples))
        offsets.append(place)
        place += len(pieces[-1])
        tokens += sum(len(each.ids) for each in examples)
    raw = np.concatenate(pieces).astype("<u2").tobytes()
    record = _provenance(source, shard) | {
        "sha256": hashlib.sha256(raw).hexdigest(),
        "tokens": tokens,
        "offsets": offsets,
    }
    source.folder.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".json").write_text(json.dumps(record))
    path.with_suffix(".part").write_bytes(raw)
    path.with_suffix(".part").rename(path)
    return record


def _path(folder: Path, shard: int) -> Path:
    return folder / f"{shard:05}.bin"


def _provenance(source: ExampleSource, shard: int) -> dict[str, Any]:
    return {"seed": source.seed, "shard": shard, "tokenizer": source.tokenizer.digest}


def _pack(examples: list[TrainingExample]) -> NDArray[np.uint16]:
    """Counts, then each system message, then each example: its message, effort, runs and ids."""
    prefixes = list(dict.fromkeys(each.prefix for each in examples))
    stream = [len(prefixes), len(examples)]
    for prefix in prefixes:
        stream += [len(prefix), *prefix]
    for each in examples:
        runs = [(length, WEIGHTS.index(weight)) for length, weight in each.pieces]
        stream += [prefixes.index(each.prefix), _EFFORTS.index(each.effort), len(runs)]
        stream += [number for run in runs for number in run]
        stream += each.ids
    return np.array(stream, np.uint16)


def _unpack(stream_X: NDArray[np.uint16]) -> list[TrainingExample]:
    numbers = iter(stream_X.tolist())

    def take(count: int) -> tuple[int, ...]:
        return tuple(next(numbers) for _ in range(count))

    num_prefixes, num_examples = take(2)
    prefixes = [take(next(numbers)) for _ in range(num_prefixes)]
    return [_unpack_example(take, prefixes) for _ in range(num_examples)]


def _unpack_example(take: Any, prefixes: list[tuple[int, ...]]) -> TrainingExample:
    prefix, effort, num_runs = take(3)
    runs = take(2 * num_runs)
    lengths = runs[0::2]
    return TrainingExample(
        prefix=prefixes[prefix],
        ids=take(sum(lengths)),
        pieces=tuple(zip(lengths, (WEIGHTS[at] for at in runs[1::2]), strict=True)),
        effort=_EFFORTS[effort],
    )


def _write(job: tuple[Path, int, Path, int]) -> dict[str, Any]:
    """Write one file, in a worker process."""
    tokenizer, seed, folder, shard = job
    return write_shard(ExampleSource(Tokenizer.from_file(tokenizer), seed, folder), shard)


def missing(folder: Path, count: int) -> Iterator[int]:
    """List the missing ones of the first `count` files."""
    return (shard for shard in range(count) if not _path(folder, shard).exists())


def main(argv: list[str] | None = None) -> None:
    """Write the missing ones of the first files of a seed."""
    parser = argparse.ArgumentParser(prog="python -m ossia.train.shards", description=__doc__)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=10, help=f"files of {BATCHES} batches")
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args(argv)
    jobs = [
        (options.tokenizer, options.seed, options.out, shard)
        for shard in missing(options.out, options.count)
    ]
    with ProcessPoolExecutor(options.workers) as pool:
        for record in pool.map(_write, jobs):
            del record["offsets"]
            print(json.dumps(record), flush=True)


if __name__ == "__main__":
    main()
