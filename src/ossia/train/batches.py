"""Conversations -> training batches: prefixes, continuations, and the loss weight of each token.

Batch n of a seed is always the same, whoever asks for it: the place in the stream is one number.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray

from ossia.harmony.messages import Builtin, Conversation, Effort
from ossia.harmony.render import render_example
from ossia.harmony.tokenizer import Tokenizer
from ossia.model.forward_batch import ForwardBatch
from ossia.tasks.nano import TOOL_TASKS
from ossia.tasks.nano.dialogues import draw_conversation, draw_date, draw_task, turns
from ossia.tasks.task import Split, TaskSettings, pick
from ossia.train.shared_prefix import PrefixGroup, prefix_group_batch

EFFORT_SHARES: Mapping[Effort, float] = MappingProxyType({"low": 0.25, "medium": 0.45, "high": 0.3})
BOTH_SHARE = 0.25
"""Share of batches with both the browser and python."""
CONTEXT_WEIGHT = 0.1
"""Loss weight of user, developer and tool tokens; the system message has none."""
MAX_TOKENS = 768
"""Limit of an example after its system message; the few longer ones are left out."""
_STREAMS: Mapping[Split, int] = MappingProxyType({"train": 2, "validation": 3, "test": 4})


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingExample:
    """One rendered turn, cut behind the system message."""

    prefix: tuple[int, ...]
    ids: tuple[int, ...]
    pieces: tuple[tuple[int, float], ...]
    """Lengths of runs of `ids`, and the loss weight of each run."""
    effort: Effort

    @property
    def weights(self) -> NDArray[np.float32]:
        """The loss weight of each of `ids`."""
        lengths, weights = zip(*self.pieces, strict=True)
        return np.repeat(np.array(weights, np.float32), lengths)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A training batch, and the target of each output row."""

    step: ForwardBatch
    target_R: torch.Tensor
    weight_R: torch.Tensor
    example_R: NDArray[np.int64]
    """Which example a row belongs to, counted over the whole batch."""
    efforts: tuple[Effort, ...]
    """The effort of each example."""


def training_example(tokenizer: Tokenizer, conversation: Conversation) -> TrainingExample:
    """Render a conversation; its last turn is what is learned.

    Earlier answers count nothing: their reasoning is gone, as in serving, and learning them would
    teach to answer without any.
    """
    example = render_example(tokenizer, conversation)
    cut = example.ids.index(tokenizer.ids.end) + 1
    last_user = max(at for at, each in enumerate(conversation.messages) if each.role == "user")
    new = sum(each.role == "assistant" for each in conversation.messages[last_user + 1 :])
    pieces, place = [], cut
    for nth, (begin, end) in enumerate(example.spans, start=new - len(example.spans)):
        pieces += [(begin - place, CONTEXT_WEIGHT), (end - begin, 1.0 if nth >= 0 else 0.0)]
        place = end
    return TrainingExample(
        prefix=example.ids[:cut],
        ids=example.ids[cut:],
        pieces=tuple(pieces),
        effort=conversation.effort,
    )


def draw_examples(
    tokenizer: Tokenizer, *, seed: int, number: int, examples: int, split: Split
) -> list[TrainingExample]:
    """The examples of batch `number` of the endless stream of a seed, those of one prefix together.

    A batch has one date, and one effort for each tool: so few system messages serve all.
    """
    random = np.random.default_rng([seed, _STREAMS[split], number])
    date = draw_date(random)
    tool_settings = {task: _settings(random, date, split) for task in TOOL_TASKS}
    both: tuple[Builtin, ...] = ("browser", "python") if random.random() < BOTH_SHARE else ()
    if both:
        tool_settings["python"] = tool_settings["search"]
    found: list[TrainingExample] = []
    while len(found) < examples:
        task = draw_task(random, number)
        settings = tool_settings.get(task) or _settings(random, date, split)
        conversation = draw_conversation(random, settings, task)
        if both and conversation.builtins:
            conversation = replace(conversation, builtins=both)
        rendered = [training_example(tokenizer, turn) for turn in turns(conversation)]
        found += [each for each in rendered if len(each.ids) <= MAX_TOKENS]
    order: dict[tuple[int, ...], int] = {}
    return sorted(found, key=lambda each: order.setdefault(each.prefix, len(order)))


def _settings(random: np.random.Generator, date: str, split: Split) -> TaskSettings:
    """An effort by its share, with the date or without."""
    bounds = np.cumsum(tuple(EFFORT_SHARES.values()))
    effort = tuple(EFFORT_SHARES)[int(np.searchsorted(bounds, random.random() * bounds[-1]))]
    return TaskSettings(effort=effort, date=pick(random, (date, None)), split=split)


def collate(examples: Sequence[TrainingExample], *, window: int) -> Batch:
    """Lay examples side by side, those of one prefix under it, and find the rows that count."""
    groups: dict[tuple[int, ...], list[TrainingExample]] = {}
    for each in examples:
        groups.setdefault(each.prefix, []).append(each)
    prefix_groups = [
        PrefixGroup(prefix=prefix, sequences=[one.ids for one in group])
        for prefix, group in groups.items()
    ]
    step = prefix_group_batch(prefix_groups, window=window)
    weight_T = np.concatenate(
        [
            np.concatenate([np.zeros(len(prefix), np.float32), *(one.weights for one in group)])
            for prefix, group in groups.items()
        ]
    )
    starts = np.zeros(len(weight_T), bool)  # a sequence's first token has no row to predict it
    starts[step.full.first_Q] = True
    taught_R = np.flatnonzero((weight_T > 0) & ~starts)
    sequence_T = np.repeat(np.arange(len(step.full.count_Q)), step.full.count_Q)
    is_example_Q = step.full.past_Q > 0
    example_Q = np.cumsum(is_example_Q) - 1
    return Batch(
        step=step._replace(row_R=(taught_R - 1).astype(np.int32)),
        target_R=torch.from_numpy(step.id_T[taught_R].astype(np.int64)),
        weight_R=torch.from_numpy(weight_T[taught_R]),
        example_R=example_Q[sequence_T[taught_R]],
        efforts=tuple(one.effort for group in groups.values() for one in group),
    )
