"""`ossia bench`: how fast a model reads and writes here, through the engine, on random tokens."""

import json
import sys
import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ossia.cli.options import (
    AsJson,
    MachineOptions,
    ModelOptions,
    open_llm,
    spread,
    tokens,
)
from ossia.cli.sizes import as_bytes, as_table
from ossia.cli.terminal import harmless

if TYPE_CHECKING:
    from ossia import LLM
    from ossia.engine.engine import Engine
    from ossia.ops import Ops

EXAMPLES = """
ossia bench
ossia bench -m FOLDER --prefill 512 --prefill 4k --decode 128 --batch 1 --batch 8 --json
"""

SEED = 20_260_101
"""Of the random tokens: every run measures the same ones."""
WARM_TOKENS = 16


@dataclass(frozen=True, slots=True)
class Prefill:
    """Reading one prompt."""

    tokens: int
    tokens_per_second: float


@dataclass(frozen=True, slots=True)
class Decode:
    """Writing after a prompt of `depth` tokens, `batch` requests at once; the rate is of all."""

    tokens: int
    batch: int
    depth: int
    tokens_per_second: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkOptions:
    """What should be measured; None: what `plan` says."""

    prefill: Annotated[
        list[int] | None,
        typer.Option(
            parser=tokens, metavar="TOKENS", help="Read; 512 unless told; may be repeated."
        ),
    ] = None
    decode: Annotated[
        int | None,
        typer.Option(parser=tokens, metavar="TOKENS", help="Write; 64 unless told."),
    ] = None
    batch: Annotated[
        list[int] | None,
        typer.Option(
            min=1,
            max=256,
            metavar="N",
            help="Requests that write at once; 1 unless told; may be repeated.",
        ),
    ] = None
    depth: Annotated[
        int | None,
        typer.Option(
            parser=tokens, metavar="TOKENS", help="Read before writing begins; 64 unless told."
        ),
    ] = None

    def plan(self) -> "Work":
        """The same with nothing left open."""
        return Work(
            prefills=self.prefill or [512],
            decode=self.decode or 64,
            batches=self.batch or [1],
            depth=self.depth or 64,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What is measured."""

    prefills: list[int]
    decode: int
    batches: list[int]
    depth: int

    @property
    def longest_prefill(self) -> int:
        """Tokens of the longest request that is only read."""
        return max(self.prefills) + 1

    @property
    def longest_decode(self) -> int:
        """Tokens of a request that writes while the last of its batch is still being read."""
        return self.depth + self.decode + max(self.batches) * (self.depth + 1)


@spread
def bench(
    *,
    model: ModelOptions,
    machine: MachineOptions,
    work_options: WorkOptions,
    as_json: AsJson = False,
) -> None:
    """Measure speed, loading time and memory, on random tokens."""
    work = work_options.plan()
    longest = max(work.longest_prefill, work.longest_decode)
    fitting = replace(model, context_length=model.context_length or longest)
    began = time.monotonic()
    with open_llm(fitting, machine) as llm:
        load_seconds = time.monotonic() - began
        engine = _engine(llm, work)
        _read(engine, WARM_TOKENS)
        prefill = [Prefill(count, count / _read(engine, count)) for count in work.prefills]
        decode = [_decode(engine, work, batch) for batch in work.batches]
        found = {
            "model": llm.name,
            "backend": llm.ops.name,
            **_machine(llm.ops),
            "load_seconds": load_seconds,
            "peak_rss_bytes": _peak_rss_bytes(),
            "prefill": [asdict(each) for each in prefill],
            "decode": [asdict(each) for each in decode],
        }
    typer.echo(json.dumps(found) if as_json else _as_text(found))


def _machine(ops: "Ops[Any]") -> dict[str, Any]:
    """What the C++ backend runs on; the others leave that to their libraries."""
    if ops.name != "cpu":
        return {"isa": None, "threads": None}
    from ossia.ops.cpu import CpuOps

    assert isinstance(ops, CpuOps)
    return {"isa": ops.machine.isa, "threads": ops.machine.threads}


def _engine(llm: "LLM", work: Work) -> "Engine":
    """An engine of our own over the opened model, as large as the work asks for."""
    from ossia.engine.engine import Engine
    from ossia.engine.options import EngineOptions, resolve
    from ossia.model.kv_cache import PAGE_TOKENS

    options = EngineOptions(
        context_length=llm.context_length,
        max_running=max(work.batches),
        step_tokens=max(EngineOptions().step_tokens, *work.batches),
        pool_tokens=llm.context_length + max(work.batches) * (work.longest_decode + PAGE_TOKENS),
    )
    return Engine(llm.model, resolve(options, llm.config, PAGE_TOKENS), PAGE_TOKENS)


def _submit(engine: "Engine", num_prompt: int, max_tokens: int, seed: int) -> int:
    """Queue a request of a forced length: no token ends it."""
    import numpy as np

    from ossia.engine.request import SamplingParams, Unguided

    vocabulary = engine.model.config.vocab_size
    prompt = np.random.default_rng(SEED + seed).integers(vocabulary, size=num_prompt).tolist()
    params = SamplingParams(temperature=0, max_tokens=max_tokens)
    return engine.submit(prompt, params, Unguided(stop_ids=frozenset()))


def _read(engine: "Engine", count: int) -> float:
    """Seconds to read a prompt and choose one token."""
    _submit(engine, count, 1, seed=0)
    began = time.perf_counter()
    while not engine.idle:
        engine.step()
    return time.perf_counter() - began


def _decode(engine: "Engine", work: Work, batch: int) -> Decode:
    """Time the steps in which every request of the batch writes one token."""
    room = engine.plan.context_length - work.depth
    waiting = {_submit(engine, work.depth, room, seed=1 + index) for index in range(batch)}
    running = set(waiting)
    while waiting:  # reading is not measured here
        waiting -= {event.request_id for event in engine.step()}
    began = time.perf_counter()
    written = sum(len(engine.step()) for _ in range(work.decode))
    seconds = time.perf_counter() - began
    for request_id in running:
        engine.cancel(request_id)
    assert written == work.decode * batch, "every request writes one token a step"
    return Decode(work.decode, batch, work.depth, written / seconds)


def _peak_rss_bytes() -> int:
    """Most memory this process ever held, mapped pages of the weights among it."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _as_text(found: dict[str, Any]) -> str:
    machine = [found["backend"], found["isa"], found["threads"] and f"{found['threads']} threads"]
    rows = {
        "model": f"{harmless(found['model'])} on {', '.join(each for each in machine if each)}",
        "load": f"{found['load_seconds']:.2f} s",
        "memory": f"{as_bytes(found['peak_rss_bytes'])} at the peak",
    }
    for each in found["prefill"]:
        rows[f"read {each['tokens']}"] = f"{each['tokens_per_second']:.1f} tokens/s"
    for each in found["decode"]:
        what = f"write {each['batch']} x {each['tokens']} after {each['depth']}"
        rows[what] = f"{each['tokens_per_second']:.1f} tokens/s"
    return as_table(rows)
