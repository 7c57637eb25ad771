"""The inputs of one forward pass as arrays.

Knows no requests. Letters: T tokens, Q sequences, R rows, P pages.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ossia.ops.api import AttentionMetadata, Int32


class SequenceSlice(NamedTuple):
    """The tokens of one sequence in a step: ids, after `past` earlier ones, and its pages."""

    ids: Sequence[int]
    past: int = 0
    pages: Sequence[int] = ()
    """Pages of the full layers, in order of position."""
    window_pages: Sequence[int] = ()
    """Pages of the sliding-window layers, used as a ring; as many in every slice."""


class ForwardBatch(NamedTuple):
    """The tokens of several sequences, concatenated."""

    id_T: Int32
    position_T: Int32
    row_R: Int32
    full: AttentionMetadata
    windowed: AttentionMetadata

    @classmethod
    def from_slices(
        cls, slices: Sequence[SequenceSlice], rows: Sequence[int], *, window: int
    ) -> "ForwardBatch":
        """Concatenate slices; `rows` are the tokens of the step whose logits are needed."""
        count_Q = np.array([len(one.ids) for one in slices], np.int32)
        past_Q = np.array([one.past for one in slices], np.int32)
        first_Q = (np.cumsum(count_Q) - count_Q).astype(np.int32)
        longest = int((past_Q + count_Q).max(initial=1))
        full, windowed = (
            AttentionMetadata(
                first_Q=first_Q, count_Q=count_Q, past_Q=past_Q, page_QP=table, window=sight
            )
            for table, sight in (
                (_table([one.pages for one in slices]), longest),
                (_table([one.window_pages for one in slices]), window),
            )
        )
        id_T = np.array([each for one in slices for each in one.ids], np.int32)
        return cls(
            id_T=id_T,
            position_T=np.arange(len(id_T), dtype=np.int32) + np.repeat(past_Q - first_Q, count_Q),
            row_R=np.asarray(rows, np.int32),
            full=full,
            windowed=windowed,
        )

    @classmethod
    def without_cache(cls, sequences: Sequence[Sequence[int]], *, window: int) -> "ForwardBatch":
        """Create a batch of whole sequences without a cache, with all logits, for training."""
        total = sum(len(ids) for ids in sequences)
        return cls.from_slices(
            [SequenceSlice(ids=ids) for ids in sequences], range(total), window=window
        )


def _table(rows: Sequence[Sequence[int]]) -> Int32:
    """Stack page lists; shorter ones are padded with page 0, which is never read."""
    table_QP = np.zeros((len(rows), max(map(len, rows), default=0)), np.int32)
    for row_P, row in zip(table_QP, rows, strict=True):
        row_P[: len(row)] = row
    return table_QP
