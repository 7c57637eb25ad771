"""Attention with sinks in torch, for sequences padded to the longest.

Knows nothing of projections. Letters as in ops/api.py; S keys that a query attends to. In names
here T counts the tokens of the longest sequence.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from ossia.ops.api import AttentionMetadata, Int32


def attention_with_sinks(
    query_QTKGC: Tensor, key_QSKC: Tensor, value_QSKC: Tensor, sink_KG: Tensor, visible_QTS: Tensor
) -> Tensor:
    """Attention with sinks for sequences of one padded length.

    Returns:
        attention_QTE; rows of padding are finite but meaningless.
    """
    sequences, tokens, heads, groups, channels = query_QTKGC.shape
    keys = key_QSKC.shape[1]
    # the query heads of a key head are stacked: one matrix product for all
    query = query_QTKGC.permute(0, 2, 3, 1, 4) / math.sqrt(channels)
    # the sink is one more key, which each head sees through a channel of its own, and worth nothing
    own_GG = torch.eye(groups, dtype=query.dtype, device=query.device)
    own_QKGTG = own_GG[:, None].expand(sequences, heads, -1, tokens, -1)
    query = torch.cat([query, own_QKGTG], dim=-1).reshape(-1, groups * tokens, channels + groups)
    key = functional.pad(key_QSKC.transpose(1, 2), (0, groups, 0, 1))
    key = key + functional.pad(sink_KG.to(key)[:, None], (channels, 0, keys, 0))
    value = functional.pad(value_QSKC.transpose(1, 2), (0, 0, 0, 1))
    unseen_QTS = torch.zeros_like(visible_QTS, dtype=query.dtype)
    unseen_QTS = functional.pad(unseen_QTS.masked_fill_(~visible_QTS, -math.inf), (0, 1))
    score_QKGTS = unseen_QTS[:, None, None].expand(-1, heads, groups, -1, -1)
    score = score_QKGTS.reshape(len(query), -1, keys + 1)
    score = score.baddbmm(query, key.flatten(0, 1).transpose(1, 2))
    mixed = score.softmax(dim=-1) @ value.flatten(0, 1)
    mixed_QKGTC = mixed.view(sequences, heads, groups, tokens, channels)
    return mixed_QKGTC.permute(0, 3, 1, 2, 4).reshape(sequences, tokens, -1)


def places(metadata: AttentionMetadata) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return each token's row and column in a [Q, longest] table, in the step's order."""
    count_Q = metadata.count_Q.astype(np.int64)
    row_T = np.repeat(np.arange(len(count_Q)), count_Q)
    return row_T, np.arange(count_Q.sum()) - np.repeat(np.cumsum(count_Q) - count_Q, count_Q)


def pad(x: Tensor, metadata: AttentionMetadata) -> Tensor:
    """Tokens [T, ...] -> [Q, longest, ...], zeros after the end of the shorter ones."""
    sequences, longest = len(metadata.count_Q), int(metadata.count_Q.max(initial=0))
    if sequences * longest == len(x):
        return x.reshape(sequences, longest, *x.shape[1:])
    row_T, column_T = places(metadata)
    cell_T = torch.from_numpy(row_T * longest + column_T).to(x.device)
    padded = x.new_zeros(sequences * longest, *x.shape[1:]).index_copy(0, cell_T, x)
    return padded.view(sequences, longest, *x.shape[1:])


def unpad(x: Tensor, metadata: AttentionMetadata) -> Tensor:
    """Undo `pad`."""
    sequences, longest = x.shape[:2]
    flat = x.reshape(sequences * longest, *x.shape[2:])
    if int(metadata.count_Q.sum()) == len(flat):
        return flat
    row_T, column_T = places(metadata)
    return flat.index_select(0, torch.from_numpy(row_T * longest + column_T).to(x.device))


def visible_keys(metadata: AttentionMetadata, older_Q: Int32) -> NDArray[np.bool_]:
    """Return the attention mask; the `older_Q` cached keys are right-aligned in their columns.

    Returns:
        visible_QTS: S = most older + longest; padding sees itself, so no row is empty.
    """
    older, longest = int(older_Q.max(initial=0)), int(metadata.count_Q.max(initial=0))
    column_S = np.arange(-older, longest)  # a key's place; 0 is the first token of this step
    age_TS = np.arange(longest)[:, None] - column_S
    near_TS = (age_TS >= 0) & (age_TS < metadata.window)
    visible_QTS: NDArray[np.bool_] = near_TS & (column_S >= -older_Q[:, None])[:, None]
    return visible_QTS


@dataclass(frozen=True, slots=True)
class TorchPages:
    """One layer's pool of keys and values."""

    key_PBKC: Tensor
    value_PBKC: Tensor

    def read(self, metadata: AttentionMetadata, older_Q: Int32) -> tuple[Tensor, Tensor]:
        """Gather the newest `older_Q` stored keys and values, right-aligned in [Q, most, K, C]."""
        older = int(older_Q.max())
        position_QS = metadata.past_Q[:, None] + np.arange(-older, 0)
        # what lies before a sequence's older keys is masked out: any stored place will do
        cell = self._cells(metadata, np.maximum(position_QS, 0))
        page, slot = (torch.from_numpy(each).to(self.key_PBKC.device) for each in cell)
        stored = np.arange(-older, 0) >= -older_Q[:, None]
        stored_QS11 = torch.from_numpy(stored)[:, :, None, None].to(self.key_PBKC.device)
        # a place never written may hold anything, and 0 * NaN is NaN: clear it
        key_QSKC = self.key_PBKC[page, slot].masked_fill(~stored_QS11, 0.0)
        return key_QSKC, self.value_PBKC[page, slot].masked_fill(~stored_QS11, 0.0)

    def write(self, metadata: AttentionMetadata, key_TKC: Tensor, value_TKC: Tensor) -> None:
        """Store the newest keys of each sequence: no more than a window."""
        row_T, column_T = places(metadata)
        stored_T = column_T >= metadata.count_Q[row_T] - metadata.window
        row_T, column_T = row_T[stored_T], column_T[stored_T]
        position_T = (metadata.past_Q[row_T] + column_T)[:, None]
        page, slot = self._cells(metadata, position_T, row_T)
        where = (torch.from_numpy(page[:, 0]), torch.from_numpy(slot[:, 0]))
        newest_T = torch.from_numpy(np.flatnonzero(stored_T)).to(key_TKC.device)
        self.key_PBKC[where] = key_TKC.index_select(0, newest_T)
        self.value_PBKC[where] = value_TKC.index_select(0, newest_T)

    def _cells(
        self,
        metadata: AttentionMetadata,
        position: NDArray[np.int64],
        row: NDArray[np.int64] | None = None,
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return page and slot of positions [rows, n]; row r: sequence `row[r]` (default: r)."""
        table = metadata.page_QP if row is None else metadata.page_QP[row]
        page_tokens, width = self.key_PBKC.shape[1], max(1, table.shape[1])
        page = np.take_along_axis(table, position // page_tokens % width, axis=1)
        return page.astype(np.int64), (position % page_tokens).astype(np.int64)
