"""Data parallel training: each process computes some prefix groups, then gradients are summed.

Independent of the model. One process per core: two threads of one wait for each other after every
small operation, two processes once a step.
"""

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import torch
from torch import Tensor, distributed

from ossia.train.batches import TrainingExample


@dataclass(frozen=True, slots=True)
class DataParallelGroup:
    """The rank of one process among `world_size`."""

    rank: int = 0
    world_size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process writes the log and the training state."""
        return self.rank == 0

    def local_examples(self, examples: Sequence[TrainingExample]) -> list[TrainingExample]:
        """The share of `examples` for this process: whole prefix groups, about equally many tokens.

        A group is split only where it would keep the processes waiting.
        """
        if self.world_size == 1:
            return list(examples)
        return partition(examples, self.world_size)[self.rank]

    def all_reduce(self, gradients: Sequence[Tensor], statistics: Sequence[float]) -> list[float]:
        """Sum each gradient over all processes, in place, and return the sums of a few numbers."""
        if self.world_size == 1:
            return list(statistics)
        extra = torch.tensor(statistics, dtype=gradients[0].dtype, device=gradients[0].device)
        flat = torch.cat([*(each.flatten() for each in gradients), extra])
        distributed.all_reduce(flat)
        begin = 0
        for gradient in gradients:
            gradient.copy_(flat[begin : begin + gradient.numel()].view_as(gradient))
            begin += gradient.numel()
        return [float(each) for each in flat[begin:]]


def partition(examples: Sequence[TrainingExample], parts: int) -> list[list[TrainingExample]]:
    """Split examples into lists of about equally many tokens, prefix groups whole if possible.

    A function of the examples alone: every process finds the same.
    """
    groups: dict[tuple[int, ...], list[TrainingExample]] = {}
    for each in examples:
        groups.setdefault(each.prefix, []).append(each)
    fair = sum(_tokens(group) for group in groups.values()) / parts
    pieces = [piece for group in groups.values() for piece in _split_group(group, fair)]
    shares: list[list[TrainingExample]] = [[] for _ in range(parts)]
    weight = [0] * parts
    for piece in sorted(pieces, key=_tokens, reverse=True):
        lightest = weight.index(min(weight))
        shares[lightest] += piece
        weight[lightest] += _tokens(piece)
    return shares


def _split_group(group: list[TrainingExample], fair: float) -> Iterator[list[TrainingExample]]:
    if _tokens(group) <= fair / 2 or len(group) == 1:
        yield group
        return
    middle = len(group) // 2
    yield from _split_group(group[:middle], fair)
    yield from _split_group(group[middle:], fair)


def _tokens(group: Sequence[TrainingExample]) -> int:
    return len(group[0].prefix) + sum(len(each.ids) for each in group)


@contextmanager
def spawn_workers(
    world_size: int, work: Callable[[DataParallelGroup], object]
) -> Iterator[DataParallelGroup]:
    """Start `world_size` - 1 more processes that run `work`, picklable; the caller is rank 0.

    Raises:
        RuntimeError: another process ended with an error.
    """
    if world_size == 1:
        yield DataParallelGroup()
        return
    with tempfile.TemporaryDirectory() as folder:
        processes = [
            get_context("spawn").Process(
                target=_run_worker, args=(work, rank, world_size, folder), daemon=True
            )
            for rank in range(1, world_size)
        ]
        for each in processes:
            each.start()
        _init_process_group(0, world_size, folder)
        yield DataParallelGroup(0, world_size)
        for each in processes:
            each.join()
        distributed.destroy_process_group()
    if any(each.exitcode for each in processes):
        raise RuntimeError("a training process ended with an error; its message is above")


def _run_worker(
    work: Callable[[DataParallelGroup], object], rank: int, world_size: int, folder: str
) -> None:
    _init_process_group(rank, world_size, folder)
    work(DataParallelGroup(rank, world_size))
    distributed.destroy_process_group()


def _init_process_group(rank: int, world_size: int, folder: str) -> None:
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    meeting = Path(folder, "meeting").as_uri()
    distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=world_size)
