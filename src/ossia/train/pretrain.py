"""Trains the embedded model: `python -m ossia.train.pretrain --seed 0 --tokens 75e6 --out FOLDER`.

FOLDER holds tokenizer.json, log.jsonl, loss.png and leg.safetensors; packed/ is the checkpoint.
The same command goes on from the leg that lies there; `--hold` keeps the rate for a later leg.
"""

import argparse
import hashlib
import json
import platform
import signal
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import FrameType, MappingProxyType
from typing import Any

import torch

from ossia import __version__
from ossia.checkpoint import ModelConfig
from ossia.harmony.tokenizer import Tokenizer
from ossia.train import plot
from ossia.train.data_parallel import Team, gathered
from ossia.train.export import write_packed
from ossia.train.network import nano_config
from ossia.train.tokenizer import write_tokenizer
from ossia.train.trainer import MUON_RATE, PEAK_RATE, Plan, Trainer

SHAPES: Mapping[str, ModelConfig] = MappingProxyType(
    {
        "t0": nano_config(vocab_size=640, hidden=64, layers=2, experts=8, inner=64),
        "t1": nano_config(vocab_size=1024, hidden=128, layers=4, experts=16, inner=128),
        "t1c": nano_config(vocab_size=1024, hidden=128, layers=6, experts=16, inner=96),
        "t2": nano_config(vocab_size=2048, hidden=192, layers=6, experts=32, inner=96),
    }
)
"""For tests; for a CPU, shallow and deep; for a GPU."""
DEFAULT_SHAPE = "t1c"
"""Deep: copying from a page or a schema takes two looks back, each in a layer that sees all."""


def main(argv: list[str] | None = None) -> None:
    """Train until the budget is spent, then pack; SIGTERM and Ctrl-C end it after a step."""
    asked = _parser().parse_args(argv)
    asked.out.mkdir(parents=True, exist_ok=True)
    tokenizer = asked.out / "tokenizer.json"
    if not tokenizer.exists():
        write_tokenizer(tokenizer, SHAPES[asked.shape].vocab_size, asked.seed)
    workers = asked.workers if asked.device == "cpu" else 1
    with gathered(workers, partial(_take_part, asked)) as team:
        trainer = _take_part(asked, team)
    plot.main([str(asked.out)])
    packed = asked.out / "packed"
    write_packed(packed, trainer.config, trainer.parameters, tokenizer)
    files = ("model.safetensors", "tokenizer.json", "config.json")
    sums = {name: hashlib.sha256((packed / name).read_bytes()).hexdigest() for name in files}
    print(json.dumps({**trainer.validate(), "sha256": sums}, indent=2))


def _take_part(asked: argparse.Namespace, team: Team) -> Trainer:
    """Train as one of the team."""
    torch.set_num_threads(1)
    plan = Plan(
        seed=asked.seed,
        tokens=None if asked.tokens is None else int(asked.tokens),
        seconds=asked.seconds,
        hold=asked.hold,
        peak_rate=asked.rate,
        muon_rate=asked.muon,
        device=asked.device,
        data=asked.data,
    )
    # the process's own time, so that a busy machine or a pause costs no budget
    clock = time.monotonic if asked.device != "cpu" else time.process_time
    tokenizer = Tokenizer.from_file(asked.out / "tokenizer.json")
    trainer = Trainer.start(SHAPES[asked.shape], tokenizer, plan, asked.out, clock, team)

    def stop(number: int, frame: FrameType | None) -> None:
        trainer.stopping = True

    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, stop)
    if team.leads:
        trainer.note(_leg(asked))
    trainer.train()
    return trainer


def _leg(asked: argparse.Namespace) -> dict[str, Any]:
    """What a leg is run with and on, for the log: bits depend on the machine and its threads."""
    given = {name: value for name, value in vars(asked).items() if name not in ("out", "data")}
    return {
        "leg": given
        | {"ossia": __version__, "torch": torch.__version__, "machine": platform.platform()},
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ossia.train.pretrain", description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    budget = parser.add_mutually_exclusive_group(required=True)
    budget.add_argument("--tokens", type=float, help="budget of all legs together")
    budget.add_argument("--seconds", type=float, help="the same, of the process's own time")
    parser.add_argument("--hold", action="store_true", help="do not let the rate fall at the end")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path, help="batches of ossia.train.shards; default: drawn")
    parser.add_argument("--shape", choices=tuple(SHAPES), default=DEFAULT_SHAPE)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int, default=2, help="processes, one a core; a GPU has 1")
    parser.add_argument("--rate", type=float, default=PEAK_RATE, help="of AdamW")
    parser.add_argument("--muon", type=float, default=MUON_RATE, help="of Muon; 0: AdamW for all")
    return parser


if __name__ == "__main__":
    main()
