"""ossia beside llama.cpp: the same weights, prompts, threads and machine, in turns.

    python -m benchmarks.vs_llama_cpp -m FOLDER --gguf FILE --peer-python PYTHON [--out FILE.json]
        [--pairs 5] [--workloads one many deep] [--threads 2] [--peer="--flash on"]
        [--ossia="--weights lean"]

FILE was written from FOLDER by `benchmarks.gguf_checkpoint`; PYTHON has `llama-cpp-python` from
PyPI, compiled here. Ossia, llama.cpp, ossia, llama.cpp, each a process of its own with its files
in the page cache and the other's out of it; beside each the speed of memory, before and after.
Prints each run as it ends, then the ratios of the pairs: smallest, median, largest.
"""

import argparse
import json
import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType

from benchmarks.gguf_checkpoint import entries
from ossia.checkpoint import Checkpoint, open_checkpoint
from ossia.checkpoint.find import prepared_folder
from ossia.cli.measure import SHORT_TOKENS, measured_apart, prompt_ids

PEER = Path(__file__).with_name("gguf_peer.py")
READ_AT_ONCE = 1 << 24


@dataclass(frozen=True, slots=True)
class Workload:
    """What one process measures: reading, and writing in every combination."""

    context_length: int
    prefills: tuple[int, ...]
    tokens: int
    batches: tuple[int, ...]
    depths: tuple[int, ...]
    peer_depths: tuple[int, ...]
    """Those that llama.cpp is asked for: it would read 16k tokens for 20 minutes."""


WORKLOADS = {
    "one": Workload(8192, (512,), 64, (1,), (64,), (64,)),
    "many": Workload(8192, (16,), 16, (8, 32), (16,), (16,)),
    "deep": Workload(16_640, (16,), 32, (1,), (1024, 16_384), (1024,)),
}


@dataclass(frozen=True, slots=True)
class Setup:
    """The two sides, and where their weights lie."""

    checkpoint: Checkpoint
    gguf: Path
    peer_python: Path
    threads: int
    ossia_options: tuple[str, ...]
    peer_options: tuple[str, ...]
    prepared: Path
    """Folder of the weights as ossia's kernels read them."""

    @property
    def prepared_files(self) -> list[Path]:
        """The weights as ossia's kernels read them."""
        return [each for each in self.prepared.rglob("*.prepared") if each.is_file()]

    @property
    def ossia_files(self) -> list[Path]:
        """What ossia may have in the page cache."""
        return [*self.checkpoint.files, *self.prepared_files]


def run_ossia(setup: Setup, workload: Workload) -> dict[str, Any]:
    """`ossia bench` with all that it reads in the page cache: its own file, head and embedding."""
    forget([setup.gguf])
    for prepared in setup.prepared_files:
        remember(prepared)
    for name in ("head", "embedding"):
        np.bitwise_or.reduce(setup.checkpoint.tensors[name].view(np.uint16), axis=None)
        setup.checkpoint.tensors.release(name)
    command = [sys.executable, "-m", "ossia", "bench", "--json", "--quiet"]
    command += ["--model", str(setup.checkpoint.folder), "--threads", str(setup.threads)]
    command += ["--context-length", str(workload.context_length)]
    command += ["--prepared-folder", str(setup.prepared), *setup.ossia_options]
    work = {
        "--prefill": workload.prefills,
        "--decode": (workload.tokens,),
        "--batch": workload.batches,
        "--depth": workload.depths,
    }
    for name, counts in work.items():
        command += [name, ",".join(map(str, counts))]
    return run(command)


def run_peer(setup: Setup, workload: Workload) -> dict[str, Any]:
    """llama.cpp on the same prompts; its file is in the page cache."""
    forget(setup.ossia_files)
    remember(setup.gguf)

    def prompt(count: int, seed: int = 0) -> list[int]:
        return prompt_ids(setup.checkpoint.config.vocab_size, count, seed)

    work = {
        "context_length": workload.context_length,
        "short": prompt(SHORT_TOKENS),
        "prefill": [prompt(count) for count in workload.prefills],
        "decode": [
            {
                "tokens": workload.tokens,
                "prompts": [prompt(depth, 1 + seed) for seed in range(batch)],
            }
            for depth in workload.peer_depths
            for batch in workload.batches
        ],
    }
    command = [str(setup.peer_python), str(PEER), "bench", str(setup.gguf)]
    command += ["--threads", str(setup.threads), *setup.peer_options]
    return run(command, json.dumps(work)) | {"bytes_per_token": peer_token_bytes(setup.checkpoint)}


def run(command: Sequence[str], stdin: str = "") -> dict[str, Any]:
    """What a process found, or how it failed: it may be short of memory."""
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"failed": f"exit {done.returncode}: {done.stderr.strip()[-300:]}"}
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def forget(files: Iterable[Path]) -> None:
    """Take files out of the page cache."""
    for file in files:
        with file.open("rb") as opened:
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def remember(file: Path) -> None:
    """Read a file into the page cache."""
    with file.open("rb", buffering=0) as opened:
        buffer = bytearray(READ_AT_ONCE)
        while opened.readinto(buffer):
            pass


def with_memory_speed(
    side: Callable[[Setup, Workload], dict[str, Any]], setup: Setup, workload: Workload
) -> dict[str, Any]:
    """Run one side; beside it the speed of memory, before and after."""
    before = measured_apart(setup.threads)
    found = side(setup, workload)
    return found | {"dram_read_bytes_per_second": [before, measured_apart(setup.threads)]}


def figures(found: dict[str, Any], workload: str) -> dict[str, float]:
    """The numbers of one process by what they mean."""
    if "failed" in found:
        return {}
    numbers = {
        f"decode {each['batch']} x {each['tokens']} after {each['depth']}, tokens/s": each[
            "tokens_per_second"
        ]
        for each in found["decode"]
    }
    if workload != "one":
        return numbers
    (prefill,), (alone,) = found["prefill"], found["decode"]
    memory = mean(found["dram_read_bytes_per_second"])
    return {
        f"prefill {prefill['tokens']}, tokens/s": prefill["tokens_per_second"],
        **numbers,
        "that of the speed of DRAM, %": (
            100 * alone["tokens_per_second"] * found["bytes_per_token"] / memory
        ),
        "DRAM read beside it, GB/s": memory / 1e9,
        "start to first token, s": found["time_to_first_token"],
        "peak resident memory, GB": found["peak_rss_bytes"] / 1e9,
    }


def peer_token_bytes(checkpoint: Checkpoint) -> int:
    """Bytes of weights that llama.cpp reads for one token: as `ossia.cli.measure` counts."""
    config = checkpoint.config
    in_use = config.num_experts_per_tok / config.num_local_experts
    plan = entries(config, checkpoint.tensors, GGMLQuantizationType.Q8_0)
    shares = ((each, in_use if "_exps" in each.name else 1) for each in plan)
    return round(sum(each.num_bytes * s for each, s in shares if each.name != "token_embd.weight"))


def table(runs: list[dict[str, Any]]) -> str:
    """Medians of both sides, and the ratios of the pairs: above 1 is better."""
    lines = [
        "| figure | ossia | llama.cpp | ratio: smallest, median, largest |",
        "|---|---|---|---|",
    ]
    for workload in dict.fromkeys(each["workload"] for each in runs):
        both = [each for each in runs if each["workload"] == workload]
        ours = [figures(each["ossia"], workload) for each in both]
        theirs = [figures(each["llama.cpp"], workload) for each in both]
        for name in dict.fromkeys(name for each in ours + theirs for name in each):
            lines.append(_row(name, ours, theirs))
    return "\n".join(lines)


def _row(name: str, ours: list[dict[str, float]], theirs: list[dict[str, float]]) -> str:
    def middle(side: list[dict[str, float]]) -> str:
        values = [each[name] for each in side if name in each]
        return f"{median(values):.2f}" if values else "-"

    pairs = [
        (a[name], b[name]) for a, b in zip(ours, theirs, strict=True) if name in a and name in b
    ]
    ratios = [b / a if name.endswith((", s", ", GB")) else a / b for a, b in pairs]
    spread = f"{min(ratios):.2f}, **{median(ratios):.2f}**, {max(ratios):.2f}" if ratios else "-"
    return f"| {name} | {middle(ours)} | {middle(theirs)} | {spread} |"


def machine() -> dict[str, Any]:
    """What the figures hold for."""
    cpu = [each for each in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in each]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    git = ["git", "-C", str(PEER.parent), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    return {
        "date": time.strftime("%Y-%m-%d"),
        "cpu": cpu[0].partition(":")[2].strip() if cpu else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": memory,
        "commit": commit,
    }


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.vs_llama_cpp", description=__doc__.splitlines()[0]
    )
    parser.add_argument("-m", "--model", required=True, metavar="FOLDER")
    parser.add_argument("--gguf", required=True, type=Path, metavar="FILE")
    parser.add_argument("--peer-python", required=True, type=Path, metavar="PYTHON")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--workloads", nargs="+", choices=WORKLOADS, default=["one", "many"])
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--ossia", default="", metavar="OPTIONS", help="for `ossia bench`")
    parser.add_argument("--peer", default="", metavar="OPTIONS", help="for gguf_peer.py")
    parser.add_argument(
        "--prepared",
        type=Path,
        default=prepared_folder(),
        metavar="FOLDER",
        help="of the prepared weights, made at the first run",
    )
    parser.add_argument("--only", choices=("ossia", "llama.cpp"), help="one side")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="all that was found")
    return parser.parse_args()


def main() -> None:
    """Run the pairs, print them and their ratios."""
    args = arguments()
    setup = Setup(
        open_checkpoint(args.model),
        args.gguf,
        args.peer_python,
        args.threads,
        tuple(shlex.split(args.ossia)),
        tuple(shlex.split(args.peer)),
        args.prepared,
    )
    sides = {"ossia": run_ossia, "llama.cpp": run_peer}
    runs: list[dict[str, Any]] = []
    facts = machine() | {
        "threads": args.threads,
        "ossia_options": args.ossia,
        "peer_options": args.peer,
    }
    for workload in args.workloads:
        for pair in range(args.pairs):
            found: dict[str, Any] = {"workload": workload, "pair": pair}
            for name, side in sides.items():
                is_left_out = args.only not in (None, name)
                found[name] = (
                    {"failed": "not run"}
                    if is_left_out
                    else with_memory_speed(side, setup, WORKLOADS[workload])
                )
            runs.append(found)
            print(json.dumps(found), flush=True)
            if args.out:
                args.out.write_text(json.dumps({**facts, "runs": runs}, indent=1))
    print(json.dumps(facts))
    print(table(runs))


if __name__ == "__main__":
    main()
