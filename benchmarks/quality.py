"""How far the fast weights are from float32: on random checkpoints, and in nano's own words.

    python -m benchmarks.quality [--shapes tiny 20b] [--layers 4] [--tokens 256] [--nano 2000]
        [--weights bf16 int8 lean] [--kv float32 bfloat16 int8] [--peer-python PYTHON]

The judge is `ops/reference.py` in float32. With a PYTHON that has `llama-cpp-python`, llama.cpp
computes the same texts from Q8_0 files of the same checkpoints, and is held against the same
judge; it rounds the range of YaRN's blend to whole channels, which the judge then does too.
Prints the tables of docs/numerics.md.
"""

import argparse
import dataclasses
import io
import json
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from benchmarks.gguf_checkpoint import write_gguf
from benchmarks.random_checkpoint import SHAPES, random_tensors
from ossia.checkpoint import Checkpoint, open_checkpoint, write_checkpoint
from ossia.checkpoint.find import find_model
from ossia.harmony.messages import Effort
from ossia.harmony.render import render_example
from ossia.harmony.tokenizer import Tokenizer
from ossia.model.forward_batch import ForwardBatch
from ossia.model.transformer import Transformer
from ossia.model.weights import prepare
from ossia.ops.cpu import CpuOps
from ossia.ops.reference import ReferenceOps
from ossia.tasks.nano.dialogues import draw_conversation
from ossia.tasks.task import TaskSettings, pick

Float32: TypeAlias = NDArray[np.float32]
SEED = 20_261_121
VOCABULARY = 16_384
"""Of the random checkpoints of real widths: the distance does not depend on it, the time does."""
PEER = Path(__file__).with_name("gguf_peer.py")


def distance(found: Float32, expected: Float32) -> float:
    """Relative L2 distance."""
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


@dataclass(slots=True)
class Agreement:
    """Two models' predictions, position by position."""

    positions: int = 0
    same: int = 0
    """Positions at which both find the same token likeliest."""
    divergence: float = 0.0
    """Sum of KL(judge, found) in nats."""
    largest: float = 0.0

    def add(self, found_RV: Float32, judge_RV: Float32) -> None:
        """Count some more positions."""
        log_p, log_q = _log_softmax(judge_RV), _log_softmax(found_RV)
        divergence_R = (np.exp(log_p) * (log_p - log_q)).sum(axis=-1)
        self.positions += len(found_RV)
        self.same += int((found_RV.argmax(-1) == judge_RV.argmax(-1)).sum())
        self.divergence += float(divergence_R.sum())
        self.largest = max(self.largest, float(divergence_R.max(initial=0)))

    def __str__(self) -> str:
        share, mean = 100 * self.same / self.positions, self.divergence / self.positions
        return f"{share:.2f} % | {mean:.1e} | {self.largest:.1e}"


def _log_softmax(logits_RV: Float32) -> NDArray[np.float64]:
    shifted_RV = logits_RV.astype(np.float64) - logits_RV.max(axis=-1, keepdims=True)
    log_RV: NDArray[np.float64] = shifted_RV - np.log(np.exp(shifted_RV).sum(-1, keepdims=True))
    return log_RV


def opened(checkpoint: Checkpoint, ops: Any, *, whole_channels: bool = False) -> Transformer[Any]:
    """A model of the checkpoint; `whole_channels`: YaRN's blend begins and ends at whole ones."""
    config = checkpoint.config
    if whole_channels:
        config = dataclasses.replace(config, rope_truncate=True)
    return Transformer(config, ops, prepare(config, ops, checkpoint.tensors))


def score(model: Transformer[Any], ids: Sequence[int]) -> Float32:
    """Logits after each id of one text, read whole."""
    batch = ForwardBatch.without_cache([ids], window=model.config.sliding_window)
    logits: Float32 = model.ops.to_numpy(model.forward(batch, None))
    return logits


def after_layer(
    model: Transformer[Any], index: int, hidden_TD: Float32, batch: ForwardBatch
) -> Float32:
    """What one layer makes of the residual stream, as in `Transformer.forward`."""
    ops, layer = model.ops, model.weights.layers[index]
    metadata = batch.windowed if layer.is_windowed else batch.full
    qkv = ops.project_qkv(hidden_TD, batch.position_T, layer.qkv)
    attention_TE = ops.attend(*qkv, metadata, None, layer.sinks)
    hidden_TD = ops.project_out(hidden_TD.copy(), attention_TE, layer.out)
    hidden: Float32 = ops.moe(hidden_TD, ops.route(hidden_TD, layer.router), layer.experts)
    return hidden.copy()


@dataclass(frozen=True, slots=True)
class Trace:
    """The residual stream before the first layer and after each, and the logits."""

    stream: list[Float32]
    logits_TV: Float32

    @classmethod
    def of(cls, model: Transformer[Any], batch: ForwardBatch) -> "Trace":
        """Run one text, layer by layer."""
        ops, weights = model.ops, model.weights
        stream = [ops.embed(batch.id_T, weights.embedding)]
        for index in range(len(weights.layers)):
            stream.append(after_layer(model, index, stream[-1], batch))
        return cls(stream, ops.unembed(stream[-1], batch.row_R, weights.head))


def modes(args: argparse.Namespace) -> Iterator[tuple[str, CpuOps]]:
    """Each choice of weights with each choice of keys; those that are not here are named."""
    for weights in args.weights:
        for kv in args.kv:
            try:
                yield f"{weights} | {kv}", CpuOps(isa=args.isa, kv_dtype=kv, weights=weights)
            except (TypeError, ValueError) as error:
                print(f"not measured: weights {weights}, keys {kv}: {error}")


def peer_scores(
    checkpoint: Checkpoint, texts: Sequence[Sequence[int]], python: str
) -> list[Float32]:
    """llama.cpp's logits of each text, from a Q8_0 file of the checkpoint."""
    with tempfile.NamedTemporaryFile(suffix=".gguf") as file:
        write_gguf(Path(file.name), checkpoint.config, checkpoint.tensors)
        command = [python, str(PEER), "logits", file.name]
        work = json.dumps([list(ids) for ids in texts]).encode()
        done = subprocess.run(command, input=work, stdout=subprocess.PIPE, check=True)
    arrays = np.load(io.BytesIO(done.stdout))
    return [arrays[name] for name in arrays.files]


def compare_random(shape: str, args: argparse.Namespace) -> None:
    """Print the distance after every layer, of every layer alone, and of the logits."""
    layers = args.layers
    config = dataclasses.replace(
        SHAPES[shape],
        num_hidden_layers=layers,
        layer_types=tuple(("sliding_attention", "full_attention")[i % 2] for i in range(layers)),
        vocab_size=min(VOCABULARY, SHAPES[shape].vocab_size),
    )
    print(f"\nRandom weights, {shape} shape, {layers} layers, {args.tokens} tokens:\n")
    after = " | ".join(f"after {index + 1}" for index in range(layers))
    print(f"| weights | keys | worst layer alone | {after} | logits | top-1 | KL | largest KL |")
    print("|" + "---|" * (layers + 7))
    ids = np.random.default_rng(SEED).integers(config.vocab_size, size=args.tokens).tolist()
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / shape
        write_checkpoint(folder, config, random_tensors(config, 0), "hugging-face")
        checkpoint = open_checkpoint(folder)
        batch = ForwardBatch.without_cache([ids], window=config.sliding_window)
        judge = Trace.of(opened(checkpoint, ReferenceOps()), batch)
        for name, ops in modes(args):
            print(f"| {name} | {_layers(opened(checkpoint, ops), judge, batch)}", flush=True)
        if args.peer_python:
            (theirs,) = peer_scores(checkpoint, [ids], args.peer_python)
            model = opened(checkpoint, ReferenceOps(), whole_channels=True)
            empty = " |" * (layers + 1)
            print(f"| llama.cpp Q8_0 | f16 |{empty} {_logits(theirs, score(model, ids))}")
            print(f"| the same, its RoPE counted | f16 |{empty} {_logits(theirs, judge.logits_TV)}")


def _layers(model: Transformer[Any], judge: Trace, batch: ForwardBatch) -> str:
    alone = [
        distance(after_layer(model, index, before, batch) - before, after - before)
        for index, (before, after) in enumerate(zip(judge.stream, judge.stream[1:], strict=False))
    ]
    trace = Trace.of(model, batch)
    after = map(distance, trace.stream[1:], judge.stream[1:])
    shown = " | ".join(f"{each:.1e}" for each in (max(alone), *after))
    return f"{shown} | {_logits(trace.logits_TV, judge.logits_TV)}"


def _logits(found_TV: Float32, judge_TV: Float32) -> str:
    agreement = Agreement()
    agreement.add(found_TV, judge_TV)
    return f"{distance(found_TV, judge_TV):.1e} | {agreement} |"


def conversations(tokenizer: Tokenizer, positions: int) -> Iterator[tuple[list[int], NDArray[Any]]]:
    """Ids of unseen conversations, and the rows that predict what the assistant says."""
    random = np.random.default_rng(SEED)
    while positions > 0:
        effort = get_args(Effort)[int(random.integers(3))]
        settings = TaskSettings(effort=effort, split="test")
        task = pick(random, ("arithmetic", "small talk"))
        example = render_example(tokenizer, draw_conversation(random, settings, task))
        row_R = np.flatnonzero(example.learned())[:positions] - 1
        positions -= len(row_R)
        yield list(example.ids), row_R


def compare_nano(args: argparse.Namespace) -> None:
    """Print how nano's predictions change in conversations of its own kind."""
    checkpoint = open_checkpoint(find_model("nano"))
    assert checkpoint.tokenizer_path is not None, "nano has words"
    texts = list(conversations(Tokenizer.from_file(checkpoint.tokenizer_path), args.nano))
    print(f"\nnano, {args.nano} positions of {len(texts)} conversations:\n")
    print("| weights | keys | top-1 | KL | largest KL |\n|---|---|---|---|---|")

    def rows(model: Transformer[Any]) -> list[Float32]:
        return [score(model, ids)[row_R] for ids, row_R in texts]

    def compare(found: Sequence[Float32], judged: Sequence[Float32]) -> Agreement:
        agreement = Agreement()
        for found_RV, judge_RV in zip(found, judged, strict=True):
            agreement.add(found_RV, judge_RV)
        return agreement

    judged = rows(opened(checkpoint, ReferenceOps()))
    for name, ops in modes(args):
        print(f"| {name} | {compare(rows(opened(checkpoint, ops)), judged)} |", flush=True)
    if args.peer_python:
        logits = peer_scores(checkpoint, [ids for ids, _ in texts], args.peer_python)
        theirs = [each[row_R] for each, (_, row_R) in zip(logits, texts, strict=True)]
        whole = opened(checkpoint, ReferenceOps(), whole_channels=True)
        print(f"| llama.cpp Q8_0 | f16 | {compare(theirs, rows(whole))} |")
        print(f"| the same, its RoPE counted | f16 | {compare(theirs, judged)} |")


def main() -> None:
    """Print the tables asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.quality", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--shapes", nargs="*", choices=SHAPES, default=["tiny", "20b"])
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--nano", type=int, default=2000, metavar="POSITIONS", help="0: no nano")
    parser.add_argument("--weights", nargs="+", default=["bf16", "int8", "lean"])
    parser.add_argument("--kv", nargs="+", default=["float32", "bfloat16", "int8"])
    parser.add_argument("--isa", default="auto")
    parser.add_argument("--peer-python", metavar="PYTHON")
    args = parser.parse_args()
    for shape in args.shapes:
        compare_random(shape, args)
    if args.nano:
        compare_nano(args)


if __name__ == "__main__":
    main()
