"""The keys and values of every layer, in pages. Knows nothing of who owns which page.

A page id means the same place in every full layer; a ring page likewise in every windowed layer.
"""

from collections.abc import Sequence
from typing import Generic

from ossia.checkpoint.config import ModelConfig
from ossia.ops.api import Array, Handle, Ops, ring_pages

PAGE_TOKENS = 64
"""Keys in a page: one tile of the attention kernels."""


class KvCache(Generic[Array]):
    """Pools of pages: one that grows with the context in full layers, rings in windowed ones."""

    def __init__(
        self,
        config: ModelConfig,
        ops: Ops[Array],
        *,
        num_pages: int,
        num_rings: int,
        page_tokens: int = PAGE_TOKENS,
    ) -> None:
        self.page_tokens = page_tokens
        self.num_pages = num_pages
        self.num_rings = num_rings
        self.ring_pages = ring_pages(config.sliding_window, page_tokens)
        heads, channels = config.num_key_value_heads, config.head_dim
        pool = {
            "full_attention": num_pages,
            "sliding_attention": num_rings * self.ring_pages,
        }
        self._ops = ops
        self._kinds = config.layer_types
        self.layers: list[Handle] = [
            ops.new_pages(pool[kind], page_tokens, heads, channels) for kind in config.layer_types
        ]

    def ring(self, index: int) -> range:
        """Pages of ring `index`."""
        return range(index * self.ring_pages, (index + 1) * self.ring_pages)

    def copy_page(self, source: int, target: int) -> None:
        """Copy one page in every full layer."""
        self._copy("full_attention", [source], [target])

    def copy_ring(self, source: int, target: int) -> None:
        """Copy one ring in every windowed layer."""
        self._copy("sliding_attention", self.ring(source), self.ring(target))

    def _copy(self, kind: str, source: Sequence[int], target: Sequence[int]) -> None:
        for each, pages in zip(self._kinds, self.layers, strict=True):
            if each == kind:
                self._ops.copy_pages(pages, source, target)
