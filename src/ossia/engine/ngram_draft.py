"""Speculative decoding by n-gram lookup, and when it pays. Knows no model and no array.

In repetitive text (an edit, a quotation, the answer after the reasoning) the drafts are the tokens
that followed the last n-gram before. They run together with the last token; accepted ones cost
only a longer step. They never change the output: a draft is accepted only if the sampler draws
the same token.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

NGRAM = 8
"""Length of a match; drafts after shorter ones are seldom accepted."""
FIRST_DRAFT, MAX_DRAFT = 4, 16
"""Draft tokens of the first attempt, and the limit."""
MIN_SPEEDUP = 1.05
"""Drafting pauses below this measured speedup ..."""
PAUSE = 256
"""... for this many tokens."""
PROBE = 32
"""Attempts in a row before one token without a draft is timed again."""
FIRST_SPEEDUP = 1.3
"""Initial estimate: two failed attempts are enough to pause."""
WEIGHT = 0.3
"""Weight of the newest measurement in a moving average."""


class NgramIndex:
    """The last position of each n-gram of one text."""

    def __init__(self) -> None:
        self._ends: dict[int, int] = {}  # hash of an n-gram -> where it ended
        self._num_indexed = NGRAM  # n-grams that end here or later are not in yet

    def propose(self, tokens: Sequence[int], count: int) -> list[int]:
        """Return up to `count` tokens that followed the last n-gram before.

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
        while len(drafts) < count:  # the match overlaps the end: extrapolate the repetition
            drafts.append(drafts[-period])
        return drafts


@dataclass(slots=True)
class SpeculationPolicy:
    """Decides how many tokens to draft for one request, from measured gain and cost."""

    speedup: float = FIRST_SPEEDUP
    """Estimated speedup of a step with drafts."""
    num_draft_tokens: int = FIRST_DRAFT
    tokens_to_wait: int = 2
    """Tokens before the next attempt; the first ones measure the baseline."""
    num_attempts: int = 0

    @property
    def should_draft(self) -> bool:
        """Whether to draft now."""
        return self.tokens_to_wait == 0

    def count_tokens(self, num_tokens: int) -> None:
        """Count generated tokens."""
        self.tokens_to_wait = max(0, self.tokens_to_wait - num_tokens)

    def update(self, *, num_draft: int, num_accepted: int, gain: float, cost: float) -> None:
        """Update the estimates with one attempt.

        Args:
            num_draft: number of draft tokens.
            num_accepted: number of accepted draft tokens.
            gain: tokens of the step relative to one without drafts.
            cost: time of the step relative to one without drafts.
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
    """Proposes the draft tokens of one request."""

    policy: SpeculationPolicy = field(default_factory=SpeculationPolicy)
    index: NgramIndex = field(default_factory=NgramIndex)

    def propose(self, tokens: Sequence[int], most: int) -> list[int]:
        """Draft up to `most` tokens that may follow; none while drafting does not pay."""
        count = min(self.policy.num_draft_tokens, most)
        return self.index.propose(tokens, count) if self.policy.should_draft and count > 0 else []


@dataclass(slots=True)
class DecodeTimes:
    """Average seconds of a step without drafts, by number of decoding requests."""

    seconds: dict[int, float] = field(default_factory=dict)

    def record(self, num_decoding: int, seconds: float) -> None:
        """Add a step without drafts to the average."""
        known = self.seconds.get(num_decoding, seconds)
        self.seconds[num_decoding] = known + WEIGHT * (seconds - known)

    def slowdown(self, num_decoding: int, seconds: float) -> float:
        """Return the time relative to a step without drafts; 1 if none was measured."""
        return max(1.0, seconds / (self.seconds.get(num_decoding, 0.0) or seconds or 1.0))
