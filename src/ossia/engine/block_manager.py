"""Who owns which page and which ring. Integers only: knows no array, no text, no clock."""

from collections.abc import Iterable


class PageOwner:
    """Gives out pages one by one and rings whole, and takes them back.

    A page may be used by several running sequences, and kept for later ones: it is free when the
    last of them has let go.
    """

    def __init__(self, *, num_pages: int, num_windows: int, page_tokens: int) -> None:
        self.page_tokens = page_tokens
        self._free_pages = list(range(num_pages - 1, -1, -1))
        self._free_rings = list(range(num_windows - 1, -1, -1))
        self._users = [0] * num_pages
        self._keepers = [0] * num_pages
        self._unused = num_pages

    @property
    def free_pages(self) -> int:
        """Pages that nobody owns."""
        return len(self._free_pages)

    @property
    def free_rings(self) -> int:
        """Rings that nobody owns."""
        return len(self._free_rings)

    @property
    def available(self) -> int:
        """Pages that no running sequence uses: free, or kept and so to be had at once."""
        return self._unused

    def needed(self, tokens: int) -> int:
        """Pages that hold so many tokens."""
        return -(-tokens // self.page_tokens)

    def take_pages(self, count: int) -> list[int]:
        """Hand over `count` pages; the caller has seen that they are free."""
        assert count <= len(self._free_pages), "asked for more pages than are free"
        taken = [self._free_pages.pop() for _ in range(count)]
        self.use(taken)
        return taken

    def use(self, pages: Iterable[int]) -> None:
        """One more running sequence reads these pages."""
        for page in pages:
            self._unused -= self._users[page] == 0
            self._users[page] += 1

    def give_back(self, pages: Iterable[int]) -> None:
        """One running sequence less uses these pages."""
        for page in pages:
            self._users[page] -= 1
            self._unused += self._users[page] == 0
            self._free(page)

    def keep(self, pages: Iterable[int]) -> None:
        """Hold these pages, whoever uses them now, for later."""
        for page in pages:
            self._keepers[page] += 1

    def forget(self, pages: Iterable[int]) -> None:
        """Undo one `keep`."""
        for page in pages:
            self._keepers[page] -= 1
            self._free(page)

    def take_ring(self) -> int:
        """Hand over one ring; the caller has seen that one is free."""
        return self._free_rings.pop()

    def give_ring(self, ring: int) -> None:
        """Take one back."""
        self._free_rings.append(ring)

    def _free(self, page: int) -> None:
        if self._users[page] == self._keepers[page] == 0:
            self._free_pages.append(page)
