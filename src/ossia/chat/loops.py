"""Notices when a text goes round in circles; knows ids only.

A loop is a block of at most 256 tokens said at least four times in a row, over at least 256 tokens
in all: enumerations and tables change from one entry to the next, and short chants soon end.
"""

MAX_PERIOD = 256
MIN_REPEATS = 4
MIN_TOKENS = 256
EVERY = 16
"""Tokens from one look to the next."""

_MAX_SPAN = MIN_REPEATS * MAX_PERIOD


class LoopDetector:
    """Follows one text, a token at a time."""

    def __init__(self) -> None:
        self._latest: list[int] = []
        self._count = 0

    def loops(self, token_id: int) -> bool:
        """Take the next token; at every sixteenth, tell whether the text has become a loop."""
        self._latest.append(token_id)
        self._count += 1
        if self._count % EVERY or self._count < MIN_TOKENS:
            return False
        del self._latest[:-_MAX_SPAN]
        return any(map(self._repeats, self._likely_periods()))

    def _likely_periods(self) -> list[int]:
        """The periods by which the two latest ids are what they were."""
        last, before = self._latest[-1], self._latest[-2]
        earlier = zip(self._latest[-2 : -2 - MAX_PERIOD : -1], self._latest[-3::-1], strict=False)
        return [period for period, (a, b) in enumerate(earlier, 1) if a == last and b == before]

    def _repeats(self, period: int) -> bool:
        """Whether the text ends in a block of this many tokens, said often enough."""
        ids, span = self._latest, max(MIN_TOKENS, MIN_REPEATS * period)
        return len(ids) >= span and ids[-span:-period] == ids[period - span :]
