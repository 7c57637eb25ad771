"""Do mutated safetensors files ever do harm? `python -m benchmarks.fuzz_safetensors --count N`.

Each is read whole or refused with a CheckpointError; anything else ends the run with a traceback.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from pathlib import Path

from ossia.checkpoint.safetensors import DTYPES, SafetensorsFile
from ossia.errors import CheckpointError

DATA_BYTES = 64


def invented_header(rng: random.Random) -> bytes:
    """A header that is nearly right: dtypes, shapes and offsets that mostly meet."""
    entries: dict[str, object] = {}
    begin = 0
    for i in range(rng.randint(1, 4)):
        dtype = rng.choice(list(DTYPES))
        shape = [rng.choice([1, 2, 3, 4]) for _ in range(rng.randint(0, 3))]
        num_bytes = DTYPES[dtype].itemsize
        for extent in shape:
            num_bytes *= extent
        entries[f"t{i}"] = {
            "dtype": dtype,
            "shape": shape,
            "data_offsets": [begin, begin + num_bytes],
        }
        begin += num_bytes
    return json.dumps(entries).encode()


def mutate(content: bytes, rng: random.Random) -> bytes:
    """Up to three bytes changed, runs removed or doubled, or the end cut."""
    changed = bytearray(content)
    for _ in range(rng.randint(0, 3)):
        at = rng.randrange(len(changed) + 1)
        match rng.randrange(4):
            case 0:
                changed[at : at + 1] = rng.randbytes(1)
            case 1:
                changed[at : at + 1] = rng.choice([b'"', b"[", b"{", b"-", b"9", b"e", b",", b""])
            case 2:
                changed[at:at] = changed[at : at + rng.randrange(20)]
            case _:
                del changed[at : at + rng.randrange(20)]
    return bytes(changed)


def fuzz(count: int, seed: int, folder: Path) -> dict[str, float]:
    """Read `count` mutated files one after another in `folder`; how many were read and refused."""
    rng = random.Random(seed)
    path = folder / "fuzzed.safetensors"
    accepted, longest = 0, 0.0
    for _ in range(count):
        header = invented_header(rng)
        content = len(header).to_bytes(8, "little") + header
        data = bytes(json_end(header)) if rng.random() < 0.8 else rng.randbytes(DATA_BYTES)
        path.write_bytes(mutate(content + data, rng))
        began = time.perf_counter()
        try:
            file = SafetensorsFile(path)
        except CheckpointError:
            pass
        else:
            accepted += 1
            assert sum(file.view(name).nbytes for name in file.entries) == file.tensor_bytes
        longest = max(longest, time.perf_counter() - began)
    return {
        "count": count,
        "accepted": accepted,
        "refused": count - accepted,
        "longest_seconds": longest,
    }


def json_end(header: bytes) -> int:
    """How many bytes of tensors the unspoilt header describes."""
    return max(int(entry["data_offsets"][1]) for entry in json.loads(header).values())


def main() -> int:
    """Run the asked-for number; print what came out as one JSON object."""
    parser = argparse.ArgumentParser("python -m benchmarks.fuzz_safetensors", description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(fuzz(arguments.count, arguments.seed, Path(folder))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
