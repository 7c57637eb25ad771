"""Shared-prefix batches: many sequences continue one prefix, which is computed once.

Knows ids and places, not what they say. Letters as in ops/api.py; S keys a query may look at.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ossia.model.forward_batch import ForwardBatch
from ossia.ops.api import AttentionMetadata, Handle, Routing
from ossia.ops.torch import TorchOps
from ossia.ops.torch.attend import attention_with_sinks

TILE = 64
"""Query tokens per tile: larger tiles attend to more masked keys."""
NUM_SIDE_BY_SIDE = 24
"""Tiles of similarly many keys that are padded to one: more make fewer, but emptier, products."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixGroup:
    """A prefix and its continuations."""

    prefix: Sequence[int]
    sequences: Sequence[Sequence[int]]


@dataclass(frozen=True, slots=True)
class Block:
    """Tiles computed in one batch, a row each; token numbers are positions in the step."""

    query_QT: Tensor
    """Shorter tiles repeat their last token."""
    key_QS: Tensor
    visible_QTS: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixGroupAttention(AttentionMetadata):
    """Attention metadata whose sequences may go on from another one of the same step."""

    blocks: tuple[Block, ...]
    return_T: Tensor
    """Where each token's row stands in the blocks' padded rows, end to end."""


def prefix_group_batch(groups: Sequence[PrefixGroup], *, window: int) -> ForwardBatch:
    """Lay each prefix group end to end: the prefix, then its sequences; no row is wanted yet."""
    runs: list[Sequence[int]] = []
    parents: list[int | None] = []
    for group in groups:
        parent = len(runs)
        runs += [group.prefix, *group.sequences]
        parents += [None, *(parent for _ in group.sequences)]
    count_Q = np.array([len(run) for run in runs], np.int32)
    first_Q = (np.cumsum(count_Q) - count_Q).astype(np.int32)
    past_Q = np.array([0 if up is None else count_Q[up] for up in parents], np.int32)
    parent_Q = np.array([q if up is None else up for q, up in enumerate(parents)], np.int32)
    longest = int((past_Q + count_Q).max())
    id_T = np.concatenate([np.asarray(run, np.int32) for run in runs])
    full, windowed = (
        _attention(first_Q, count_Q, past_Q, parent_Q, sight) for sight in (longest, window)
    )
    return ForwardBatch(
        id_T=id_T,
        position_T=np.arange(len(id_T), dtype=np.int32) + np.repeat(past_Q - first_Q, count_Q),
        row_R=np.zeros(0, np.int32),
        full=full,
        windowed=windowed,
    )


def _attention(
    first_Q: NDArray[np.int32],
    count_Q: NDArray[np.int32],
    past_Q: NDArray[np.int32],
    parent_Q: NDArray[np.int32],
    window: int,
) -> PrefixGroupAttention:
    tiles = [
        _Tile(q, begin, min(int(count), begin + TILE))
        for q, count in enumerate(count_Q)
        for begin in range(0, int(count), TILE)
    ]
    end_Q = np.array([past_Q[tile.q] + tile.end for tile in tiles])
    start_Q = np.array([past_Q[tile.q] + tile.begin for tile in tiles])
    keys_Q = np.minimum(end_Q, end_Q - start_Q + window - 1)
    order_Q = np.argsort(keys_Q, kind="stable")
    layout = _Layout(first_Q, past_Q, parent_Q, window)
    blocks, return_T, rows = [], np.zeros(int(count_Q.sum()), np.int64), 0
    for start in range(0, len(order_Q), NUM_SIDE_BY_SIDE):
        side_by_side = [tiles[int(at)] for at in order_Q[start : start + NUM_SIDE_BY_SIDE]]
        block = layout.block(side_by_side)
        longest = block.query_QT.shape[1]
        for n, tile in enumerate(side_by_side):
            of_tile = slice(first_Q[tile.q] + tile.begin, first_Q[tile.q] + tile.end)
            return_T[of_tile] = rows + n * longest + np.arange(tile.end - tile.begin)
        rows += block.query_QT.numel()
        blocks.append(block)
    return PrefixGroupAttention(
        first_Q=first_Q,
        count_Q=count_Q,
        past_Q=past_Q,
        page_QP=np.zeros((len(count_Q), 0), np.int32),
        window=window,
        blocks=tuple(blocks),
        return_T=torch.from_numpy(return_T),
    )


@dataclass(frozen=True, slots=True)
class _Tile:
    """Tokens `begin` to `end` of sequence q."""

    q: int
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where sequences lie in the step, and how far a token sees."""

    first_Q: NDArray[np.int32]
    past_Q: NDArray[np.int32]
    parent_Q: NDArray[np.int32]
    window: int

    def block(self, tiles: Sequence[_Tile]) -> Block:
        """Keys of each tile: the newest it may see, the oldest columns padded at the left."""
        q = np.array([tile.q for tile in tiles])
        begin_Q = np.array([tile.begin for tile in tiles])
        end_Q = np.array([tile.end for tile in tiles])
        past_Q, first_Q = self.past_Q[q].astype(np.int64), self.first_Q[q].astype(np.int64)
        column_T = np.arange((end_Q - begin_Q).max())
        in_sequence_QT = np.minimum(begin_Q[:, None] + column_T, end_Q[:, None] - 1)
        stop_Q = past_Q + end_Q  # one behind the newest key's position
        width = int(np.minimum(stop_Q, end_Q - begin_Q + self.window - 1).max())
        position_QS = stop_Q[:, None] + np.arange(-width, 0)
        own_QS = position_QS - past_Q[:, None]
        prefix_QS = self.first_Q[self.parent_Q[q], None] + np.maximum(position_QS, 0)
        key_QS = np.where(own_QS >= 0, first_Q[:, None] + own_QS, prefix_QS)
        age_QTS = (past_Q[:, None] + in_sequence_QT)[:, :, None] - position_QS[:, None]
        visible_QTS = (age_QTS >= 0) & (age_QTS < self.window) & (position_QS >= 0)[:, None]
        return Block(
            torch.from_numpy(first_Q[:, None] + in_sequence_QT),
            torch.from_numpy(key_QS.astype(np.int64)),
            torch.from_numpy(visible_QTS),
        )


class TrainingOps(TorchOps):
    """TorchOps for steps of prefix groups; it keeps the routers' scores for the extra losses."""

    name = "training"

    def __init__(self, device: str = "cpu") -> None:
        super().__init__(device)
        self.scores: list[tuple[Tensor, Tensor]] = []
        """For each layer of the newest step score_TN and expert_TA; the trainer empties it."""

    def choose(self, normed_TD: Tensor, score_TN: Tensor, num_active: int) -> Routing:
        """Keep the scores, then choose."""
        routing = super().choose(normed_TD, score_TN, num_active)
        self.scores.append((score_TN, routing.expert_TA))
        return routing

    def attend(
        self,
        query_TKGC: Tensor,
        key_TKC: Tensor,
        value_TKC: Tensor,
        metadata: AttentionMetadata,
        pages: Handle | None,
        sinks: Handle,
    ) -> Tensor:
        """Attend within a sequence and to its group's prefix; no keys are cached."""
        if pages is not None or not isinstance(metadata, PrefixGroupAttention):
            raise ValueError("the training backend runs steps of prefix groups, without pages")
        mixed = [
            attention_with_sinks(
                _rows(query_TKGC, block.query_QT),
                _rows(key_TKC, block.key_QS),
                _rows(value_TKC, block.key_QS),
                sinks,
                block.visible_QTS.to(self.device),
            ).flatten(0, 1)
            for block in metadata.blocks
        ]
        return torch.cat(mixed).index_select(0, metadata.return_T.to(self.device))


def _rows(x: Tensor, place_QT: Tensor) -> Tensor:
    """Gather tokens [T, ...] -> [Q, T, ...]; `index_select`, since its gradient is the quickest."""
    return x.index_select(0, place_QT.flatten().to(x.device)).view(*place_QT.shape, *x.shape[1:])
