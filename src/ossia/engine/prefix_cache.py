"""Beginnings of texts whose keys are kept, so that the next text that begins alike goes on there.

Full layers lend their pages. A windowed layer's ring is used round and round, so a copy of it is
made wherever a text may be gone on from. Integers only: knows no array and no clock.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ossia.engine.block_manager import PageOwner


@dataclass(frozen=True, slots=True)
class Prefix:
    """One beginning; the last of its pages may hold tokens of another text after its own."""

    tokens: tuple[int, ...]
    pages: tuple[int, ...]
    ring: int


class PrefixCache:
    """Keeps the beginnings used last. What it keeps can be had back at once."""

    def __init__(self, owner: PageOwner, *, max_kept: int) -> None:
        self._owner = owner
        self._max_kept = max_kept
        self._kept: list[Prefix] = []  # used longest ago first

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def max_kept(self) -> int:
        """Most beginnings at a time; 0: none ever."""
        return self._max_kept

    def find(self, tokens: Sequence[int]) -> Prefix | None:
        """The longest kept beginning of a text.

        All its kept beginnings count as used, the shortest last: most texts share that one.
        """
        mine = sorted(
            (one for one in self._kept if _begins(one.tokens, tokens)),
            key=lambda one: len(one.tokens),
            reverse=True,
        )
        for one in mine:
            self._use(one)
        return mine[0] if mine else None

    def parting(self, tokens: Sequence[int]) -> int:
        """How far a text goes along with any kept one: others may part from them there too."""
        return max((common(one.tokens, tokens) for one in self._kept), default=0)

    def keep(self, tokens: Sequence[int], pages: Sequence[int]) -> int | None:
        """Keep one more beginning; returns the ring to copy the windows into, None: no need."""
        if self._max_kept == 0:
            return None
        for one in self._kept:
            if len(one.tokens) == len(tokens) and _begins(one.tokens, tokens):
                self._use(one)
                return None
        if len(self._kept) == self._max_kept:
            self._forget_one()
        kept = Prefix(tuple(tokens), tuple(pages), self._owner.take_ring())
        self._owner.keep(kept.pages)
        self._kept.append(kept)
        return kept.ring

    def make_room(self, num_pages: int) -> None:
        """Forget until so many pages are free; the caller has seen that they are available."""
        while self._owner.free_pages < num_pages:
            self._forget_one()

    def _use(self, one: Prefix) -> None:
        place = next(at for at, each in enumerate(self._kept) if each is one)
        self._kept.append(self._kept.pop(place))

    def _forget_one(self) -> None:
        oldest = self._kept.pop(0)
        self._owner.forget(oldest.pages)
        self._owner.give_ring(oldest.ring)


def _begins(start: Sequence[int], tokens: Sequence[int]) -> bool:
    return len(start) <= len(tokens) and common(start, tokens) == len(start)


def common(one: Sequence[int], other: Sequence[int]) -> int:
    """Tokens both begin with: halving, since slices are compared at the speed of memory."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if tuple(one[low:middle]) == tuple(other[low:middle]):
            low = middle
        else:
            high = middle - 1
    return low
