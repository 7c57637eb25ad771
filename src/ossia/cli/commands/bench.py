"""`ossia bench`: how fast a model loads, prefills and decodes here, on random tokens."""

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ossia.cli.measure import Decode, SpeedMeter, Workload, measured_apart, token_bytes
from ossia.cli.options import (
    AsJson,
    MachineOptions,
    ModelOptions,
    open_llm,
    spread,
    tokens,
)
from ossia.cli.terminal.terminal import as_bytes, as_table, harmless

if TYPE_CHECKING:
    from ossia.ops import Ops

EXAMPLES = """
ossia bench
ossia bench -m FOLDER --prefill 512,4k --decode 128 --batch 1,8 --depth 64,1k --json
"""

MAX_BATCH = 256


class Counts(tuple[int, ...]):
    """The numbers of one option: 512,4k."""


def counts(text: str) -> Counts:
    """Read numbers of tokens, separated by commas."""
    return Counts(tokens(each) for each in text.split(","))


def batches(text: str) -> Counts:
    """Read numbers of requests, separated by commas."""
    found = counts(text)
    if max(found) > MAX_BATCH:
        raise typer.BadParameter(f"{max(found)} requests; at most {MAX_BATCH} at once")
    return found


def _several(help_text: str, parser: Callable[[str], Counts] = counts) -> Any:
    return typer.Option(parser=parser, metavar="N[,N]", help=help_text)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkOptions:
    """What to measure; decoding in every combination. None: the default of `plan`."""

    prefill: Annotated[Counts | None, _several("Tokens to prefill; default: 512.")] = None
    decode: Annotated[Counts | None, _several("Tokens to decode; default: 64.")] = None
    batch: Annotated[Counts | None, _several("Concurrent requests; default: 1.", batches)] = None
    depth: Annotated[
        Counts | None, _several("Tokens in the context before decoding; default: 64.")
    ] = None

    def plan(self) -> Workload:
        """Fill in the defaults."""
        return Workload(
            prefills=self.prefill or (512,),
            decodes=self.decode or (64,),
            batches=self.batch or (1,),
            depths=self.depth or (64,),
        )


@spread
def command(
    *,
    model: ModelOptions,
    machine: MachineOptions,
    work_options: WorkOptions,
    as_json: AsJson = False,
) -> None:
    """Measure speed, loading time and memory, on random tokens."""
    work = work_options.plan()
    fitting = replace(model, context_length=model.context_length or work.longest)
    began = time.perf_counter()
    with open_llm(fitting, machine) as llm:
        load_seconds = time.perf_counter() - began
        meter = SpeedMeter(llm, work)
        meter.first_token()
        time_to_first_token = time.perf_counter() - began
        prefill = meter.prefills()
        machine_facts = _machine(llm.ops)
        threads = machine_facts["threads"]
        before = measured_apart(threads)
        decode = meter.decodes()
        memory = (before + measured_apart(threads)) / 2
        weights = token_bytes(llm)
        found = {
            "model": llm.name,
            "backend": llm.ops.name,
            **machine_facts,
            "load_seconds": load_seconds,
            "time_to_first_token": time_to_first_token,
            "peak_rss_bytes": _peak_rss_bytes(),
            "prefill": [asdict(each) for each in prefill],
            "decode": [asdict(each) for each in decode],
            "bytes_per_token": weights,
            "dram_read_bytes_per_second": memory,
            "roofline_share": _roofline_share(decode, weights, memory),
        }
    typer.echo(json.dumps(found) if as_json else _as_text(found))


def _roofline_share(decode: list[Decode], weight_bytes: int, memory: float) -> float | None:
    """Share of the memory bandwidth that the first decode with a batch of one used."""
    alone = [each.tokens_per_second for each in decode if each.batch == 1]
    return alone[0] * weight_bytes / memory if alone else None


def _machine(ops: "Ops[Any]") -> dict[str, Any]:
    """Settings of the C++ backend; the libraries of the others use all cores."""
    if ops.name != "cpu":
        return {"isa": None, "weights": None, "threads": os.cpu_count() or 1}
    from ossia.ops.cpu import CpuOps

    assert isinstance(ops, CpuOps)
    return {"isa": ops.machine.isa, "weights": ops.weights, "threads": ops.machine.threads}


def _peak_rss_bytes() -> int:
    """Peak memory of this process, mapped pages of the weights included."""
    import resource

    status = Path("/proc/self/status")
    if status.is_file():  # getrusage also counts the parent process
        peak_line = next(
            line for line in status.read_text().splitlines() if line.startswith("VmHWM:")
        )
        return int(peak_line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # pragma: no cover - no Linux
    return peak if sys.platform == "darwin" else peak * 1024  # pragma: no cover


def _as_text(found: dict[str, Any]) -> str:
    machine = [found["backend"], found["isa"], found["weights"], f"{found['threads']} threads"]
    rows = {
        "model": f"{harmless(found['model'])} on {', '.join(each for each in machine if each)}",
        "start": f"{found['time_to_first_token']:.2f} s to the first token, "
        f"{found['load_seconds']:.2f} s of it to open",
        "memory": f"{as_bytes(found['peak_rss_bytes'])} at the peak",
    }
    for each in found["prefill"]:
        rows[f"read {each['tokens']}"] = f"{each['tokens_per_second']:.1f} tokens/s"
    for each in found["decode"]:
        what = f"write {each['batch']} x {each['tokens']} after {each['depth']}"
        rows[what] = f"{each['tokens_per_second']:.1f} tokens/s"
    rows["weights"] = f"{as_bytes(found['bytes_per_token'])} read for a token"
    rows["DRAM"] = f"{as_bytes(round(found['dram_read_bytes_per_second']))}/s"
    if found["roofline_share"] is not None:
        rows["DRAM"] += f"; one request writes at {found['roofline_share']:.0%} of that"
    return as_table(rows)
