"""Guesses at what a request writes next, and whether they pay. Knows no model and no array.

A text that repeats itself (an edit, a quotation, the answer after the reasoning) is guessed by
looking up where its last tokens stood before. Guesses are run together with the last token; those
that come true are tokens for the price of a longer step. They never change what is written.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

MATCH = 8
"""Tokens that must have stood together before: shorter matches come true too seldom."""
FIRST, MOST = 4, 16
"""Guesses of the first attempt, and at most."""
WORTH = 1.05
"""Guessing stops below this many tokens for the time of one..."""
PAUSE = 256
"""...and is tried again after so many tokens."""
PROBE = 32
"""Attempts in a row, before one token without a guess shows again what that takes."""
FORESIGHT = 1.3
"""What a first attempt is thought to be worth: two that come to nothing are enough to stop."""
WEIGHT = 0.3
"""Of the newest measurement in an average."""


class Lookup:
    """Where each run of `MATCH` tokens of one text stood last."""

    def __init__(self) -> None:
        self._ends: dict[int, int] = {}  # hash of a run -> where it ended
        self._indexed = MATCH  # runs that end here or later are not in yet

    def guess(self, tokens: Sequence[int], count: int) -> list[int]:
        """What followed the last tokens when they stood together before; up to `count` tokens.

        Args:
            tokens: the same text at every call, or longer.
            count: at least 1.
        """
        for end in range(self._indexed, len(tokens)):
            self._ends[hash(tuple(tokens[end - MATCH : end]))] = end
        self._indexed = max(self._indexed, len(tokens))
        last = list(tokens[-MATCH:])
        at = self._ends.get(hash(tuple(last)))
        if len(last) < MATCH or at is None or list(tokens[at - MATCH : at]) != last:
            return []
        found = list(tokens[at : at + count])
        period = len(tokens) - at
        while len(found) < count:  # it repeats itself at once: so it may go on
            found.append(found[-period])
        return found


@dataclass(slots=True)
class Gate:
    """How far one request may guess: measured, so that it never costs more than it brings."""

    worth: float = FORESIGHT
    length: int = FIRST
    resting: int = 2
    """Tokens to write before the next attempt; the first ones show what it must compare with."""
    attempts: int = 0

    @property
    def is_open(self) -> bool:
        """Whether to guess now."""
        return self.resting == 0

    def wrote(self, num_tokens: int) -> None:
        """So many tokens were written."""
        self.resting = max(0, self.resting - num_tokens)

    def tried(self, *, guesses: int, true: int, gain: float, cost: float) -> None:
        """An attempt was measured.

        Args:
            guesses: how many tokens were guessed.
            true: how many of them came true.
            gain: tokens of the whole step over those without guesses.
            cost: time of the step over that without guesses.
        """
        self.worth += WEIGHT * (gain / cost - self.worth)
        self.attempts += 1
        if self.attempts % PROBE == 0:
            self.resting = 1
        if true == guesses:
            self.length = min(MOST, max(self.length, 2 * guesses))
        else:
            self.length = max(2, true + 1)
        if self.worth < WORTH:
            self.worth, self.length, self.resting = FORESIGHT, FIRST, PAUSE


@dataclass(slots=True)
class Guesser:
    """The guesses of one request."""

    gate: Gate = field(default_factory=Gate)
    lookup: Lookup = field(default_factory=Lookup)

    def guess(self, tokens: Sequence[int], most: int) -> list[int]:
        """What may follow a text, up to `most` tokens; nothing while it does not pay."""
        count = min(self.gate.length, most)
        return self.lookup.guess(tokens, count) if self.gate.is_open and count > 0 else []


@dataclass(slots=True)
class Pace:
    """Seconds of a step in which each request writes one token, by how many write."""

    seconds: dict[int, float] = field(default_factory=dict)

    def measured(self, num_writing: int, seconds: float) -> None:
        """A step without guesses took so long."""
        known = self.seconds.get(num_writing, seconds)
        self.seconds[num_writing] = known + WEIGHT * (seconds - known)

    def cost(self, num_writing: int, seconds: float) -> float:
        """How many steps without guesses fit into this one; 1 when none was measured yet."""
        return max(1.0, seconds / (self.seconds.get(num_writing, 0.0) or seconds or 1.0))
