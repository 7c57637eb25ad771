"""The forward pass of gpt-oss over the operations of a backend.

Knows no device, no file, no request. Letters: T tokens in this step, R rows that will sample,
D model width, V vocabulary.
"""

from typing import Generic

from ossia.checkpoint.config import ModelConfig
from ossia.model.forward_batch import ForwardBatch
from ossia.model.kv_cache import KvCache
from ossia.model.weights import Weights
from ossia.ops.api import Array, Ops


class Transformer(Generic[Array]):
    """The gpt-oss transformer."""

    def __init__(self, config: ModelConfig, ops: Ops[Array], weights: Weights) -> None:
        self.config = config
        self.ops = ops
        self.weights = weights

    def forward(self, batch: ForwardBatch, cache: KvCache[Array] | None) -> Array:
        """Run one step of any number of sequences.

        Args:
            batch: ids, positions and attention metadata; positions are within the context.
            cache: read and extended; None: no cache.

        Returns:
            logits_RV, float32, one row for each of `batch.row_R`.
        """
        return self.ops.unembed(self.hidden(batch, cache), batch.row_R, self.weights.head)

    def hidden(self, batch: ForwardBatch, cache: KvCache[Array] | None) -> Array:
        """Run one step up to the head: hidden_TD after the last layer, before the last norm."""
        ops = self.ops
        hidden_TD = ops.embed(batch.id_T, self.weights.embedding)
        for index, layer in enumerate(self.weights.layers):
            query_TKGC, key_TKC, value_TKC = ops.project_qkv(hidden_TD, batch.position_T, layer.qkv)
            attention_TE = ops.attend(
                query_TKGC,
                key_TKC,
                value_TKC,
                batch.windowed if layer.is_windowed else batch.full,
                None if cache is None else cache.layers[index],
                layer.sinks,
            )
            hidden_TD = ops.project_out(hidden_TD, attention_TE, layer.out)
            routing = ops.route(hidden_TD, layer.router)
            hidden_TD = ops.moe(hidden_TD, routing, layer.experts)
        return hidden_TD
