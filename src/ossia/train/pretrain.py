"""Pretrains a model like the embedded one: `ossia train nano`.

The output folder holds tokenizer.json, log.jsonl, loss.png and training_state.safetensors; packed/
is the checkpoint. A run with the same folder resumes from the training state in it.
"""

import hashlib
import platform
import signal
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from types import FrameType, MappingProxyType
from typing import Any

import torch

from ossia import __version__
from ossia.checkpoint import ModelConfig
from ossia.errors import UnsupportedDevice
from ossia.harmony.tokenizer import Tokenizer
from ossia.train.data_parallel import DataParallelGroup, spawn_workers
from ossia.train.export import write_packed
from ossia.train.network import nano_config
from ossia.train.plot import plot_losses
from ossia.train.tokenizer import write_tokenizer
from ossia.train.trainer import MUON_RATE, PEAK_RATE, Trainer, TrainingConfig

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


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainOptions:
    """Options of a run; exactly one of `tokens` and `seconds`."""

    out: Path
    tokens: float | None = None
    """The budget of the whole run in tokens, earlier runs included."""
    seconds: float | None = None
    """The budget in seconds of process time."""
    constant_lr: bool = False
    """Do not decay the learning rate at the end of the budget."""
    data: Path | None = None
    """Batches written by `ossia.train.shards`; by default they are generated."""
    shape: str = DEFAULT_SHAPE
    seed: int = 0
    device: str = "cpu"
    workers: int = 2
    """Number of processes, one per core; a GPU has one."""
    lr: float = PEAK_RATE
    """Peak learning rate of AdamW."""
    muon_lr: float = MUON_RATE
    """Peak learning rate of Muon; 0: AdamW for all parameters."""

    def __post_init__(self) -> None:
        if (self.tokens is None) == (self.seconds is None):
            raise ValueError("a run has a budget of tokens or of seconds, one of them")


def run(options: PretrainOptions) -> dict[str, Any]:
    """Train until the budget is spent, export, plot; SIGTERM and Ctrl-C stop after a step.

    Returns:
        The validation of the trained model and the SHA-256 of its files.

    Raises:
        UnsupportedDevice: torch finds no GPU.
    """
    if options.device == "cuda" and not torch.cuda.is_available():
        raise UnsupportedDevice("torch finds no GPU for --device cuda; leave it out to use the CPU")
    options.out.mkdir(parents=True, exist_ok=True)
    tokenizer_path = options.out / "tokenizer.json"
    if not tokenizer_path.exists():
        write_tokenizer(tokenizer_path, SHAPES[options.shape].vocab_size, options.seed)
    workers = options.workers if options.device == "cpu" else 1
    with spawn_workers(workers, partial(_train, options)) as parallel:
        trainer = _train(options, parallel)
    packed = options.out / "packed"
    write_packed(packed, trainer.config, trainer.parameters, tokenizer_path)
    plot_losses(options.out)
    files = ("model.safetensors", "tokenizer.json", "config.json")
    sums = {name: hashlib.sha256((packed / name).read_bytes()).hexdigest() for name in files}
    return {**trainer.validate(), "sha256": sums}


def _train(options: PretrainOptions, parallel: DataParallelGroup) -> Trainer:
    """Train as one of the processes."""
    torch.set_num_threads(1)
    config = TrainingConfig(
        seed=options.seed,
        tokens=None if options.tokens is None else int(options.tokens),
        seconds=options.seconds,
        constant_lr=options.constant_lr,
        peak_rate=options.lr,
        muon_rate=options.muon_lr,
        device=options.device,
        data=options.data,
    )
    # the process's own time, so that a busy machine or a pause costs no budget
    clock = time.monotonic if options.device != "cpu" else time.process_time
    tokenizer = Tokenizer.from_file(options.out / "tokenizer.json")
    trainer = Trainer.start(SHAPES[options.shape], tokenizer, config, options.out, clock, parallel)

    def stop(number: int, frame: FrameType | None) -> None:
        trainer.stopping = True

    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, stop)
    if parallel.is_main:
        trainer.note({"run": _run_record(options)})
    trainer.train()
    return trainer


def _run_record(options: PretrainOptions) -> dict[str, Any]:
    """The options and the machine, for the log: bits depend on the machine and its threads."""
    record = {key: value for key, value in asdict(options).items() if key not in ("out", "data")}
    return record | {
        "ossia": __version__, "torch": torch.__version__, "machine": platform.platform(),
    }  # fmt: skip
