"""Draft tokens by n-gram lookup, and whether they pay. Knows no model and no array.

A text that repeats itself (an edit, a quotation, the answer after the reasoning) is continued by
looking up where its last tokens stood before. Draft tokens are run together with the last token;
those that are accepted are tokens for the price of a longer step. They never change what is
written: a draft is accepted only where the sampler draws the same token.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

NGRAM = 8
"""Tokens that must have stood together before: drafts after shorter matches are seldom accepted."""
FIRST_DRAFT, MAX_DRAFT = 4, 16
"""Draft tokens of the first attempt, and at most."""
MIN_SPEEDUP = 1.05
"""Drafting stops below this many tokens for the time of one..."""
PAUSE = 256
"""...and is tried again after so many tokens."""
PROBE = 32
"""Attempts in a row, before one token without a draft shows again how long that takes."""
FIRST_SPEEDUP = 1.3
"""Expected of a first attempt: two that come to nothing are enough to stop."""
WEIGHT = 0.3
"""Of the newest measurement in a moving average."""


class NgramIndex:
    """Where each n-gram of one text stood last."""

    def __init__(self) -> None:
        self._ends: dict[int, int] = {}  # hash of an n-gram -> where it ended
        self._num_indexed = NGRAM  # n-grams that end here or later are not in yet

    def propose(self, tokens: Sequence[int], count: int) -> list[int]:
        """What followed the last tokens when they stood together before; up to `count` tokens.

        Args:
            tokens: the same text at every call, or longer.
            count: at least 1.
        """
        for end in range(self._num_indexed, len(tokens)):
            self._ends[hash(tuple(tokens[end - NGRAM : end]))] = end
        self._num_indexed = max(self._num_indexed, len(tokens))
        last = list(tokens[-NGRAM:])
        at = self._ends.get(hash(tuple(last)))
        if len(last) < NGRAM or at is None or list(tokens[at - NGRAM : at]) != last:
            return []
        drafts = list(tokens[at : at + count])
        period = len(tokens) - at
        while len(drafts) < count:  # it repeats itself at once: so it may go on
            drafts.append(drafts[-period])
        return drafts


@dataclass(slots=True)
class SpeculationPolicy:
    """How many tokens to draft for one request: measured, so that it costs less than it brings."""

    speedup: float = FIRST_SPEEDUP
    """Expected: tokens for the time of one."""
    num_draft_tokens: int = FIRST_DRAFT
    tokens_to_wait: int = 2
    """Before the next attempt; the first tokens show what an attempt must be compared with."""
    num_attempts: int = 0

    @property
    def should_draft(self) -> bool:
        """Whether to draft now."""
        return self.tokens_to_wait == 0

    def count_tokens(self, num_tokens: int) -> None:
        """Count tokens that were written."""
        self.tokens_to_wait = max(0, self.tokens_to_wait - num_tokens)

    def update(self, *, num_draft: int, num_accepted: int, gain: float, cost: float) -> None:
        """Learn from one attempt.

        Args:
            num_draft: tokens that were drafted.
            num_accepted: how many of them were accepted.
            gain: tokens of the whole step over those without drafts.
            cost: time of the step over that without drafts.
        """
        self.speedup += WEIGHT * (gain / cost - self.speedup)
        self.num_attempts += 1
        if self.num_attempts % PROBE == 0:
            self.tokens_to_wait = 1
        if num_accepted == num_draft:
            self.num_draft_tokens = min(MAX_DRAFT, max(self.num_draft_tokens, 2 * num_draft))
        else:
            self.num_draft_tokens = max(2, num_accepted + 1)
        if self.speedup < MIN_SPEEDUP:
            self.speedup, self.num_draft_tokens = FIRST_SPEEDUP, FIRST_DRAFT
            self.tokens_to_wait = PAUSE


@dataclass(slots=True)
class NgramProposer:
    """The draft tokens of one request."""

    policy: SpeculationPolicy = field(default_factory=SpeculationPolicy)
    index: NgramIndex = field(default_factory=NgramIndex)

    def propose(self, tokens: Sequence[int], most: int) -> list[int]:
        """Draft up to `most` tokens that may follow a text; none while it does not pay."""
        count = min(self.policy.num_draft_tokens, most)
        return self.index.propose(tokens, count) if self.policy.should_draft and count > 0 else []


@dataclass(slots=True)
class DecodeTimes:
    """Seconds of a step in which each request decodes one token, by how many requests do."""

    seconds: dict[int, float] = field(default_factory=dict)

    def record(self, num_decoding: int, seconds: float) -> None:
        """Average in a step without drafts."""
        known = self.seconds.get(num_decoding, seconds)
        self.seconds[num_decoding] = known + WEIGHT * (seconds - known)

    def slowdown(self, num_decoding: int, seconds: float) -> float:
        """How many steps without drafts fit into this one; 1 when none was measured yet."""
        return max(1.0, seconds / (self.seconds.get(num_decoding, 0.0) or seconds or 1.0))
