"""Conversations -> arrays to learn from: what stands before, what follows, and how much it counts.

Batch n of a seed is always the same, whoever asks for it: the place in the stream is one number.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray

from ossia.harmony.messages import Conversation, Effort
from ossia.harmony.render import render_example
from ossia.harmony.vocabulary import Vocabulary
from ossia.model.step import Step
from ossia.train.dialogues import draw_conversation, draw_date
from ossia.train.shared_prefix import Family, family_step
from ossia.train.tasks.task import Setting, Split

EFFORT_SHARES: Mapping[Effort, float] = MappingProxyType({"low": 0.25, "medium": 0.45, "high": 0.3})
SAID_WEIGHT = 0.1
"""What users and developers say counts a tenth; the system message, always alike, nothing."""
_STREAMS: Mapping[Split, int] = MappingProxyType({"train": 2, "validation": 3, "test": 4})


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """One rendered conversation, cut behind the system message."""

    prefix: tuple[int, ...]
    ids: tuple[int, ...]
    weights: tuple[float, ...]
    """How much predicting each of `ids` counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A step, and what each of its wanted rows should have predicted."""

    step: Step
    target_R: torch.Tensor
    weight_R: torch.Tensor
    lesson_R: NDArray[np.int64]
    """Which lesson a row belongs to, counted over the whole batch."""
    efforts: tuple[Effort, ...]
    """The effort of each lesson."""


def lesson(vocabulary: Vocabulary, conversation: Conversation) -> Lesson:
    """Render a conversation; its last turn is what is learned.

    Earlier answers count nothing: their reasoning is gone, as in serving, and learning them would
    teach to answer without any.
    """
    example = render_example(vocabulary, conversation)
    cut = example.ids.index(vocabulary.ids.end) + 1
    weights = [SAID_WEIGHT] * len(example.ids)
    for begin, end in example.spans:
        weights[begin:end] = [0.0] * (end - begin)
    last_user = max(at for at, each in enumerate(conversation.messages) if each.role == "user")
    turn_begins = example.spans[last_user + 1 - len(conversation.messages)][0]
    weights[turn_begins:] = [1.0] * (len(weights) - turn_begins)
    return Lesson(prefix=example.ids[:cut], ids=example.ids[cut:], weights=tuple(weights[cut:]))


def make_batch(
    vocabulary: Vocabulary, *, seed: int, number: int, lessons: int, window: int, split: Split
) -> Batch:
    """Batch `number` of the endless stream of a seed; each effort with and without a date."""
    random = np.random.default_rng([seed, _STREAMS[split], number])
    date = draw_date(random)
    groups: list[list[Lesson]] = []
    efforts: list[Effort] = []
    for effort, share in EFFORT_SHARES.items():
        setting = Setting(effort=effort, split=split)
        for each in (setting, replace(setting, date=date)):
            count = max(1, round(lessons * share / 2))
            efforts += [effort] * count
            groups.append(
                [lesson(vocabulary, draw_conversation(random, each)) for _ in range(count)]
            )
    return collate(groups, tuple(efforts), window=window)


def collate(groups: list[list[Lesson]], efforts: tuple[Effort, ...], *, window: int) -> Batch:
    """Lay lessons of one prefix each side by side, and find the rows that count."""
    families = [
        Family(prefix=group[0].prefix, sequences=[one.ids for one in group]) for group in groups
    ]
    step = family_step(families, window=window)
    weight_T = np.concatenate(
        [
            np.concatenate([np.zeros(len(group[0].prefix)), *(one.weights for one in group)])
            for group in groups
        ]
    )
    starts = np.zeros(len(weight_T), bool)  # a sequence's first token has no row to predict it
    starts[step.full.first_Q] = True
    taught_R = np.flatnonzero((weight_T > 0) & ~starts)
    sequence_T = np.repeat(np.arange(len(step.full.count_Q)), step.full.count_Q)
    is_lesson_Q = step.full.past_Q > 0
    lesson_Q = np.cumsum(is_lesson_Q) - 1
    return Batch(
        step=replace(step, row_R=(taught_R - 1).astype(np.int32)),
        target_R=torch.from_numpy(step.id_T[taught_R].astype(np.int64)),
        weight_R=torch.from_numpy(weight_T[taught_R].astype(np.float32)),
        lesson_R=lesson_Q[sequence_T[taught_R]],
        efforts=efforts,
    )
