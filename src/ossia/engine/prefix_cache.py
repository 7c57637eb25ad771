"""The prefix cache: keys and values of prefixes, reused by requests that start the same.

Full layers share their blocks. A window is overwritten as a ring, so it is copied at each position
that may be resumed. Integers only: knows no array and no clock.

Where keys depend on more than tokens, the requests have different `salt`s and share nothing.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ossia.engine.block_manager import BlockManager


class CachedPrefix(NamedTuple):
    """A cached prefix; its last block may contain another text's tokens after its own."""

    tokens: tuple[int, ...]
    blocks: tuple[int, ...]
    window: int


class PrefixCache:
    """LRU cache of prefixes; all their memory can be evicted at once."""

    def __init__(self, blocks: BlockManager, *, max_entries: int) -> None:
        self.max_entries = max_entries
        self._blocks = blocks
        self._entries: OrderedDict[tuple[str, tuple[int, ...]], CachedPrefix] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, tokens: Sequence[int], salt: str = "") -> CachedPrefix | None:
        """Find the longest cached prefix of a text.

        All its cached prefixes count as used, the shortest last: most texts share it.
        """
        prefixes = sorted(
            (each for each in self._tokens(salt) if _is_prefix(each, tokens)),
            key=len,
            reverse=True,
        )
        for each in prefixes:
            self._entries.move_to_end((salt, each))
        return self._entries[salt, prefixes[0]] if prefixes else None

    def longest_common_prefix(self, tokens: Sequence[int], salt: str = "") -> int:
        """Length of the longest common prefix with a cached text: others may diverge there too."""
        return max((common_prefix_length(each, tokens) for each in self._tokens(salt)), default=0)

    def insert(self, tokens: Sequence[int], blocks: Sequence[int], salt: str = "") -> int | None:
        """Cache a prefix.

        Returns:
            The window to copy its window to; None: already cached, or the cache is disabled.
        """
        if self.max_entries == 0:
            return None
        key = salt, tuple(tokens)
        if key in self._entries:
            self._entries.move_to_end(key)
            return None
        if len(self._entries) == self.max_entries:
            self.evict()
        entry = CachedPrefix(key[1], tuple(blocks), self._blocks.allocate_window())
        self._blocks.pin(entry.blocks)
        self._entries[key] = entry
        return entry.window

    def _tokens(self, salt: str) -> Iterator[tuple[int, ...]]:
        return (tokens for of, tokens in self._entries if of == salt)

    def evict(self) -> None:
        """Drop the least recently used prefix."""
        _, oldest = self._entries.popitem(last=False)
        self._blocks.unpin(oldest.blocks)
        self._blocks.free_window(oldest.window)

    def evict_until_free(self, num_blocks: int) -> None:
        """Evict until this many blocks are free; the caller has checked that they are available."""
        while self._blocks.num_free_blocks < num_blocks:
            self.evict()


def _is_prefix(start: Sequence[int], tokens: Sequence[int]) -> bool:
    return len(start) <= len(tokens) and common_prefix_length(start, tokens) == len(start)


def common_prefix_length(one: Sequence[int], other: Sequence[int]) -> int:
    """Length of the common prefix, by bisection, since comparing slices is fast."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if tuple(one[low:middle]) == tuple(other[low:middle]):
            low = middle
        else:
            high = middle - 1
    return low
