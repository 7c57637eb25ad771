"""Processes that take a step together: each computes some families, all add up their gradients.

Knows nothing of the model. One process a core: two threads of one wait for each other after every
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

from ossia.train.batches import Lesson


@dataclass(frozen=True, slots=True)
class Team:
    """One member's place among `size`."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this member writes the log and the legs."""
        return self.rank == 0

    def mine(self, lessons: Sequence[Lesson]) -> list[Lesson]:
        """Those of `lessons` that this member computes: whole families, about equally many tokens.

        A family is cut only where it would keep the others waiting.
        """
        if self.size == 1:
            return list(lessons)
        return deal(lessons, self.size)[self.rank]

    def add_up(self, gradients: Sequence[Tensor], facts: Sequence[float]) -> list[float]:
        """Make each gradient the sum over the team, in place; the same for a few numbers."""
        if self.size == 1:
            return list(facts)
        told = torch.tensor(facts, dtype=gradients[0].dtype, device=gradients[0].device)
        flat = torch.cat([*(each.flatten() for each in gradients), told])
        distributed.all_reduce(flat)
        begin = 0
        for gradient in gradients:
            gradient.copy_(flat[begin : begin + gradient.numel()].view_as(gradient))
            begin += gradient.numel()
        return [float(each) for each in flat[begin:]]


def deal(lessons: Sequence[Lesson], hands: int) -> list[list[Lesson]]:
    """Split lessons into `hands` lists of about equally many tokens, families whole if possible.

    A function of the lessons alone: every member finds the same.
    """
    families: dict[tuple[int, ...], list[Lesson]] = {}
    for each in lessons:
        families.setdefault(each.prefix, []).append(each)
    fair = sum(_tokens(family) for family in families.values()) / hands
    pieces = [piece for family in families.values() for piece in _halved(family, fair)]
    dealt: list[list[Lesson]] = [[] for _ in range(hands)]
    weight = [0] * hands
    for piece in sorted(pieces, key=_tokens, reverse=True):
        lightest = weight.index(min(weight))
        dealt[lightest] += piece
        weight[lightest] += _tokens(piece)
    return dealt


def _halved(family: list[Lesson], fair: float) -> Iterator[list[Lesson]]:
    if _tokens(family) <= fair / 2 or len(family) == 1:
        yield family
        return
    middle = len(family) // 2
    yield from _halved(family[:middle], fair)
    yield from _halved(family[middle:], fair)


def _tokens(family: Sequence[Lesson]) -> int:
    return len(family[0].prefix) + sum(len(each.ids) for each in family)


@contextmanager
def gathered(size: int, work: Callable[[Team], object]) -> Iterator[Team]:
    """Start `size` - 1 more processes that do `work`, picklable; the caller is the one that leads.

    Raises:
        RuntimeError: another member ended with an error.
    """
    if size == 1:
        yield Team()
        return
    with tempfile.TemporaryDirectory() as folder:
        others = [
            get_context("spawn").Process(target=_join, args=(work, rank, size, folder), daemon=True)
            for rank in range(1, size)
        ]
        for each in others:
            each.start()
        _meet(0, size, folder)
        yield Team(0, size)
        for each in others:
            each.join()
        distributed.destroy_process_group()
    if any(each.exitcode for each in others):
        raise RuntimeError("a process of the team ended with an error; its message is above")


def _join(work: Callable[[Team], object], rank: int, size: int, folder: str) -> None:
    _meet(rank, size, folder)
    work(Team(rank, size))
    distributed.destroy_process_group()


def _meet(rank: int, size: int, folder: str) -> None:
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    meeting = Path(folder, "meeting").as_uri()
    distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=size)
