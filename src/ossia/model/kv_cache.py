"""The paged KV cache of every layer. Knows nothing of who owns which page.

A page id is valid in every full layer. A window is the ring of pages that a sequence uses in every
sliding-window layer. The engine calls a page a block.
"""

from collections.abc import Sequence
from typing import Generic

from ossia.checkpoint.config import ModelConfig
from ossia.ops.api import Array, Handle, Ops, pages_per_window

PAGE_TOKENS = 64
"""Keys in a page: one tile of the attention kernels."""


class KvCache(Generic[Array]):
    """Pools of pages: shared in full layers, one window per sequence in the others."""

    def __init__(
        self,
        config: ModelConfig,
        ops: Ops[Array],
        *,
        num_pages: int,
        num_windows: int,
        page_tokens: int = PAGE_TOKENS,
    ) -> None:
        self.page_tokens = page_tokens
        self.num_pages = num_pages
        self.num_windows = num_windows
        self.pages_per_window = pages_per_window(config.sliding_window, page_tokens)
        heads, channels = config.num_key_value_heads, config.head_dim
        pool = {
            "full_attention": num_pages,
            "sliding_attention": num_windows * self.pages_per_window,
        }
        self._ops = ops
        self._kinds = config.layer_types
        self.layers: list[Handle] = [
            ops.new_pages(pool[kind], page_tokens, heads, channels) for kind in config.layer_types
        ]

    def window_pages(self, index: int) -> range:
        """Pages of window `index`."""
        return range(index * self.pages_per_window, (index + 1) * self.pages_per_window)

    def copy_page(self, source: int, target: int) -> None:
        """Copy one page in every full layer."""
        self._copy("full_attention", [source], [target])

    def copy_window(self, source: int, target: int) -> None:
        """Copy one window in every sliding-window layer."""
        self._copy("sliding_attention", self.window_pages(source), self.window_pages(target))

    def _copy(self, kind: str, source: Sequence[int], target: Sequence[int]) -> None:
        for each, pages in zip(self._kinds, self.layers, strict=True):
            if each == kind:
                self._ops.copy_pages(pages, source, target)
