"""Trains the embedded model: `python -m ossia.train.nano --seed 0 --seconds 3600 --out FOLDER`.

FOLDER holds tokenizer.json, log.jsonl and leg.safetensors, and at the end packed/, a checkpoint.
The same command goes on from the leg that lies there.
"""

import argparse
import hashlib
import json
import signal
import time
from pathlib import Path
from types import FrameType

import torch

from ossia.checkpoint import ModelConfig
from ossia.harmony.vocabulary import Vocabulary
from ossia.train.network import nano_config
from ossia.train.pack import write_packed
from ossia.train.tokenizer import write_tokenizer
from ossia.train.trainer import Plan, Trainer

VOCAB_SIZE = 768


def shape() -> ModelConfig:
    """The shape of nano: 2.0 million parameters, of which a token uses 0.7 million."""
    return nano_config(vocab_size=VOCAB_SIZE, hidden=128, layers=4, experts=16, inner=64)


def main(argv: list[str] | None = None) -> None:
    """Train until the budget is spent, then pack; SIGTERM and Ctrl-C end it after a step."""
    parser = argparse.ArgumentParser(prog="python -m ossia.train.nano", description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=3600.0, help="of training, all legs")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2, help="of torch, on a CPU")
    asked = parser.parse_args(argv)

    torch.set_num_threads(asked.threads)
    asked.out.mkdir(parents=True, exist_ok=True)
    tokenizer = asked.out / "tokenizer.json"
    if not tokenizer.exists():
        write_tokenizer(tokenizer, VOCAB_SIZE, asked.seed)
    vocabulary = Vocabulary.from_file(tokenizer)
    plan = Plan(seed=asked.seed, seconds=asked.seconds, device=asked.device)
    trainer = Trainer.start(shape(), vocabulary, plan, asked.out, time.monotonic)

    def stop(number: int, frame: FrameType | None) -> None:
        trainer.stopping = True

    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, stop)
    trainer.train()
    packed = asked.out / "packed"
    write_packed(packed, trainer.config, trainer.parameters, tokenizer)
    files = ("model.safetensors", "tokenizer.json", "config.json")
    sums = {name: hashlib.sha256((packed / name).read_bytes()).hexdigest() for name in files}
    print(json.dumps({**trainer.validate(), "sha256": sums}, indent=2))


if __name__ == "__main__":
    main()
