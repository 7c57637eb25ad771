"""Allocates blocks and windows of the KV cache. Integers only: no array, no text, no clock.

A block is what model and ops call a page: the keys and values of `block_size` tokens in every full
layer. A window is the few blocks that one sequence uses again and again in every sliding-window
layer; it is allocated whole.
"""

from collections.abc import Iterable


class BlockManager:
    """Allocates blocks one by one and windows whole, and frees them.

    Running sequences may share a block, and the prefix cache may pin it: it is free when
    the last of them has released it.
    """

    def __init__(self, *, num_blocks: int, num_windows: int, block_size: int) -> None:
        self.block_size = block_size
        self._free_blocks = list(range(num_blocks - 1, -1, -1))
        self._free_windows = list(range(num_windows - 1, -1, -1))
        self._num_users = [0] * num_blocks
        self._num_pins = [0] * num_blocks
        self._num_unused = num_blocks

    @property
    def num_free_blocks(self) -> int:
        """Number of blocks neither used nor pinned."""
        return len(self._free_blocks)

    @property
    def num_free_windows(self) -> int:
        """Number of free windows."""
        return len(self._free_windows)

    @property
    def num_available_blocks(self) -> int:
        """Number of blocks that no running sequence uses: free, or pinned and evictable."""
        return self._num_unused

    def blocks_for(self, num_tokens: int) -> int:
        """Number of blocks for this many tokens."""
        return -(-num_tokens // self.block_size)

    def allocate(self, count: int) -> list[int]:
        """Allocate `count` blocks; the caller has checked that they are free."""
        assert count <= len(self._free_blocks), "more blocks than are free"
        blocks = [self._free_blocks.pop() for _ in range(count)]
        self.share(blocks)
        return blocks

    def share(self, blocks: Iterable[int]) -> None:
        """Add a reference of a running sequence to these blocks."""
        for block in blocks:
            self._num_unused -= self._num_users[block] == 0
            self._num_users[block] += 1

    def free(self, blocks: Iterable[int]) -> None:
        """Drop a running sequence's reference to these blocks."""
        for block in blocks:
            self._num_users[block] -= 1
            self._num_unused += self._num_users[block] == 0
            self._free_if_unowned(block)

    def pin(self, blocks: Iterable[int]) -> None:
        """Pin these blocks for the prefix cache."""
        for block in blocks:
            self._num_pins[block] += 1

    def unpin(self, blocks: Iterable[int]) -> None:
        """Undo one `pin`."""
        for block in blocks:
            self._num_pins[block] -= 1
            self._free_if_unowned(block)

    def allocate_window(self) -> int:
        """Allocate a window; the caller has checked that one is free."""
        return self._free_windows.pop()

    def free_window(self, window: int) -> None:
        """Free a window."""
        self._free_windows.append(window)

    def _free_if_unowned(self, block: int) -> None:
        if self._num_users[block] == self._num_pins[block] == 0:
            self._free_blocks.append(block)
