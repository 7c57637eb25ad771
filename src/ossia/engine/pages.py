"""Who owns which page and which ring. Integers only: knows no array, no text, no clock."""


class PageOwner:
    """Gives out pages one by one and rings whole, and takes them back."""

    def __init__(self, *, num_pages: int, num_rings: int, page_tokens: int) -> None:
        self.page_tokens = page_tokens
        self._free_pages = list(range(num_pages - 1, -1, -1))
        self._free_rings = list(range(num_rings - 1, -1, -1))

    @property
    def free_pages(self) -> int:
        """Pages that nobody owns."""
        return len(self._free_pages)

    @property
    def free_rings(self) -> int:
        """Rings that nobody owns."""
        return len(self._free_rings)

    def missing(self, owned: int, tokens: int) -> int:
        """Pages to add to `owned` ones so that they hold `tokens`."""
        return max(0, -(-tokens // self.page_tokens) - owned)

    def take_pages(self, count: int) -> list[int]:
        """Hand over `count` pages; the caller has seen that they are free."""
        assert count <= len(self._free_pages), "asked for more pages than are free"
        return [self._free_pages.pop() for _ in range(count)]

    def take_ring(self) -> int:
        """Hand over one ring; the caller has seen that one is free."""
        return self._free_rings.pop()

    def give_back(self, pages: list[int], ring: int) -> None:
        """Take back all that a sequence owned."""
        self._free_pages.extend(reversed(pages))
        self._free_rings.append(ring)
