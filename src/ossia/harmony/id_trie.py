"""A trie over token ids: which ids may follow, and which name is complete. Knows no meaning."""

from collections.abc import Mapping, Sequence


class IdTrie:
    """Names by their id sequences; nodes are small integers, the root is 0."""

    def __init__(self, sequences: Mapping[str, Sequence[int]]) -> None:
        """Insert every name; raises ValueError for an empty sequence."""
        self.children: list[dict[int, int]] = [{}]
        self.complete: dict[int, str] = {}
        """Name by the node at which it ends; another may go on from there."""
        for name, ids in sequences.items():
            if not ids:
                raise ValueError(f"{name!r} has no ids")
            self.complete[self._insert(ids)] = name

    def _insert(self, ids: Sequence[int]) -> int:
        node = 0
        for token_id in ids:
            if token_id not in self.children[node]:
                self.children[node][token_id] = len(self.children)
                self.children.append({})
            node = self.children[node][token_id]
        return node

    def common_prefix(self) -> tuple[int, ...]:
        """The ids that every name begins with."""
        prefix: list[int] = []
        node = 0
        while node not in self.complete and len(self.children[node]) == 1:
            ((token_id, node),) = self.children[node].items()
            prefix.append(token_id)
        return tuple(prefix)
