"""Who runs in the next step, and how many tokens of it. Integers only: knows no array, no clock.

First come, first served. Requests that decode go first, with one token each (or a forced run, or
draft tokens); what is left of the step goes to prefill, in chunks, which are short while others
decode. When blocks run out, cached prefixes are evicted; then the youngest request is preempted:
its tokens stay, only their keys are computed again.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from ossia.engine.block_manager import BlockManager
from ossia.engine.prefix_cache import CachedPrefix, PrefixCache, common_prefix_length

PREFILL_SHARE = 8
"""While others decode, prefill gets one part in so many of a step: decoding waits no longer."""
NO_DRAFTS: Mapping[int, int] = MappingProxyType({})


@dataclass(slots=True, eq=False)
class Sequence:
    """One request, as the scheduler sees it."""

    request_id: int
    tokens: list[int]
    """Prompt and answer so far: the engine's own list, which grows."""
    num_prompt: int
    cache_points: set[int]
    """Lengths at which to put what was read so far into the prefix cache."""
    cache_salt: str = ""
    num_computed: int = 0
    """Tokens whose keys and values are in the cache."""
    blocks: list[int] = field(default_factory=list)
    window: int | None = None

    @property
    def num_uncomputed(self) -> int:
        """Tokens to run before the next can be sampled."""
        return len(self.tokens) - self.num_computed


class ScheduledRequest(NamedTuple):
    """What one request does in one step: run some tokens after those computed, perhaps sample."""

    request_id: int
    num_computed_tokens: int
    num_scheduled_tokens: int
    block_table: tuple[int, ...]
    window: int
    samples: bool
    num_draft_tokens: int = 0
    """How many of the scheduled tokens are drafts of what comes next."""


class CacheCopy(NamedTuple):
    """Keys to copy, each from one place to another."""

    window: tuple[int, int]
    """In every sliding-window layer."""
    block: tuple[int, int] | None = None
    """In every full layer."""


class SchedulerOutput(NamedTuple):
    """One step: what to copy first, in order, and then who runs; oldest request first."""

    copies: list[CacheCopy]
    requests: list[ScheduledRequest]


class Scheduler:
    """Decides step by step; `update_after_step` is called when the step was run."""

    def __init__(
        self,
        blocks: BlockManager,
        *,
        max_running: int,
        max_batch_tokens: int,
        max_cached_prefixes: int,
    ) -> None:
        self._blocks = blocks
        self._prefix_cache = PrefixCache(blocks, max_entries=max_cached_prefixes)
        self._max_running = max_running
        self._max_batch_tokens = max_batch_tokens
        self._waiting: deque[Sequence] = deque()
        self._running: list[Sequence] = []  # oldest first

        self.num_preempted = 0
        """How often a request gave its blocks to an older one and began anew."""

    @property
    def idle(self) -> bool:
        """Whether there is nothing to run."""
        return not self._waiting and not self._running

    @property
    def num_running(self) -> int:
        """Requests that have blocks, or will have them in the next step."""
        return len(self._running)

    @property
    def num_waiting(self) -> int:
        """Requests that are not running yet."""
        return len(self._waiting)

    def add(
        self,
        request_id: int,
        tokens: list[int],
        cache_points: Iterable[int] = (),
        cache_salt: str = "",
    ) -> None:
        """Queue a request.

        Args:
            request_id: not that of another.
            tokens: the prompt; what is sampled later is appended to this list.
            cache_points: lengths at which other texts that begin alike may part from it.
            cache_salt: prefixes are shared between requests of one salt.
        """
        inside = {each for each in cache_points if 0 < each < len(tokens)}
        self._waiting.append(Sequence(request_id, tokens, len(tokens), inside, cache_salt))

    def remove(self, request_id: int) -> None:
        """Forget a request, running or waiting; its blocks are free at once."""
        for sequence in self._running:
            if sequence.request_id == request_id:
                self._free(sequence)
                self._running.remove(sequence)
                return
        self._waiting = deque(each for each in self._waiting if each.request_id != request_id)

    def finish(self, request_id: int) -> list[CacheCopy]:
        """Remove a request that is complete, and cache it: a text that goes on from it may come."""
        copies = [
            copy
            for sequence in self._running
            if sequence.request_id == request_id
            for copy in self._cache_prefix(sequence)
        ]
        self.remove(request_id)
        return copies

    def schedule(self, drafts: Mapping[int, int] = NO_DRAFTS) -> SchedulerOutput:
        """Choose who runs in one step; empty only when idle.

        Args:
            drafts: for some that decode, how many draft tokens there are; they may be left out,
                and never preempt another request.
        """
        self._admit()
        left, output = self._max_batch_tokens, SchedulerOutput([], [])
        scheduled: dict[int, ScheduledRequest] = {}
        is_mixed = not all(map(self._is_prefill, self._running))
        waiting = [each for each in self._running if self._waits_for_prefix(each)]
        # stable: each kind oldest first
        for sequence in sorted(self._running, key=self._is_prefill):
            if is_mixed and self._is_prefill(sequence):
                left = min(left, max(1, self._max_batch_tokens // PREFILL_SHARE))
            # it may have been preempted by an older one, in this very loop
            is_out = sequence not in self._running or sequence in waiting
            if is_out or not sequence.num_uncomputed or not left:
                continue
            if request := self._schedule(sequence, left, drafts, scheduled, output.copies):
                scheduled[sequence.request_id] = request
                left -= request.num_scheduled_tokens
        running = (scheduled.get(each.request_id) for each in self._running)
        output.requests.extend(each for each in running if each is not None)
        return output

    def update_after_step(self, requests: list[ScheduledRequest]) -> list[CacheCopy]:
        """Count what the step computed, but no draft tokens; returns what to copy next."""
        by_id = {request.request_id: request for request in requests}
        copies = []
        for sequence in self._running:
            if request := by_id.get(sequence.request_id):
                sequence.num_computed += request.num_scheduled_tokens - request.num_draft_tokens
                is_prompt_end = request.samples and (
                    request.num_computed_tokens < sequence.num_prompt
                )
                if is_prompt_end or sequence.num_computed in sequence.cache_points:
                    copies += self._cache_prefix(sequence)
        return copies

    def accept_drafts(self, request_id: int, num_tokens: int) -> None:
        """Count draft tokens of the last step that were accepted and appended: keys are there."""
        for sequence in self._running:
            if sequence.request_id == request_id:
                sequence.num_computed += num_tokens

    def _is_prefill(self, sequence: Sequence) -> bool:
        """Whether a prompt is being read; what is shorter than a block may be a forced run."""
        return sequence.num_uncomputed > self._blocks.block_size

    def _admit(self) -> None:
        while self._waiting and len(self._running) < self._max_running:
            first = min(self._waiting[0].num_uncomputed, self._max_batch_tokens)
            if self._blocks.num_available_blocks < self._blocks.blocks_for(first):
                return
            sequence = self._waiting.popleft()
            sequence.window = self._blocks.allocate_window()
            self._running.append(sequence)

    def _schedule(
        self,
        sequence: Sequence,
        left: int,
        drafts: Mapping[int, int],
        scheduled: dict[int, ScheduledRequest],
        copies: list[CacheCopy],
    ) -> ScheduledRequest | None:
        """Give a sequence its part of what is left of a step; None: it was preempted."""
        prefix = self._restore_prefix(sequence)
        start = sequence.num_computed
        next_point = min((n for n in sequence.cache_points if n > start), default=start + left)
        count = min(sequence.num_uncomputed, left, next_point - start)
        samples = count == sequence.num_uncomputed
        if not self._allocate(sequence, start + count, scheduled):
            return None
        num_drafts = 0
        # behind more than one token, wrong drafts could push what they follow out of a window
        if sequence.num_uncomputed == 1 and (wanted := drafts.get(sequence.request_id, 0)):
            num_drafts = min(wanted, max(0, left - count - len(self._running)))
            missing = self._num_missing_blocks(sequence, start + count + num_drafts)
            if missing > self._blocks.num_available_blocks:
                num_drafts = 0
            self._allocate(sequence, start + count + num_drafts, scheduled)
        if prefix is not None:
            copies.append(self._copy_of(prefix, sequence, start))
        assert sequence.window is not None, "a running sequence has a window"
        return ScheduledRequest(
            request_id=sequence.request_id,
            num_computed_tokens=start,
            num_scheduled_tokens=count + num_drafts,
            block_table=tuple(sequence.blocks),
            window=sequence.window,
            samples=samples,
            num_draft_tokens=num_drafts,
        )

    def _waits_for_prefix(self, sequence: Sequence) -> bool:
        """Whether an older one reads what this one begins with: it goes on from there, later."""
        if sequence.blocks or not self._prefix_cache.max_entries:
            return False
        cached = self._prefix_cache.find(sequence.tokens, sequence.cache_salt)
        least = (len(cached.tokens) if cached else 0) + self._blocks.block_size
        for other in self._running[: self._running.index(sequence)]:
            if other.cache_salt != sequence.cache_salt:
                continue
            length = common_prefix_length(other.tokens, sequence.tokens)
            if length >= least and other.num_computed < length:
                other.cache_points.add(length)
                return True
        return False

    def _restore_prefix(self, sequence: Sequence) -> CachedPrefix | None:
        """Let a sequence without keys begin after its longest cached prefix."""
        if sequence.blocks:
            return None
        length = self._prefix_cache.longest_common_prefix(sequence.tokens, sequence.cache_salt)
        prefix = self._prefix_cache.find(sequence.tokens, sequence.cache_salt)
        if prefix is not None:
            # the last token is always run: its logits are wanted
            sequence.num_computed = min(len(prefix.tokens), sequence.num_uncomputed - 1)
            num_whole = sequence.num_computed // self._blocks.block_size
            sequence.blocks = list(prefix.blocks[:num_whole])
            self._blocks.share(sequence.blocks)
        if length >= sequence.num_computed + self._blocks.block_size:
            sequence.cache_points.add(length)
        return prefix

    def _copy_of(self, prefix: CachedPrefix, sequence: Sequence, length: int) -> CacheCopy:
        """A block that is not full goes on differently in each text: it is copied, not shared."""
        assert sequence.window is not None, "a running sequence has a window"
        whole, rest = divmod(length, self._blocks.block_size)
        block = (prefix.blocks[whole], sequence.blocks[whole]) if rest else None
        return CacheCopy((prefix.window, sequence.window), block)

    def _cache_prefix(self, sequence: Sequence) -> list[CacheCopy]:
        assert sequence.window is not None, "a running sequence has a window"
        blocks = sequence.blocks[: self._blocks.blocks_for(sequence.num_computed)]
        tokens = sequence.tokens[: sequence.num_computed]
        window = self._prefix_cache.insert(tokens, blocks, sequence.cache_salt)
        return [] if window is None else [CacheCopy((sequence.window, window))]

    def _num_missing_blocks(self, sequence: Sequence, num_tokens: int) -> int:
        return max(0, self._blocks.blocks_for(num_tokens) - len(sequence.blocks))

    def _allocate(
        self, sequence: Sequence, num_tokens: int, scheduled: dict[int, ScheduledRequest]
    ) -> bool:
        """Allocate blocks for `num_tokens`, preempting the youngest; False: it was this one."""
        missing = self._num_missing_blocks(sequence, num_tokens)
        while self._blocks.num_available_blocks < missing:
            youngest = self._running[-1]
            scheduled.pop(youngest.request_id, None)
            self._preempt(youngest)
            if youngest is sequence:
                return False
        self._prefix_cache.evict_until_free(missing)
        sequence.blocks += self._blocks.allocate(missing)
        return True

    def _preempt(self, sequence: Sequence) -> None:
        self.num_preempted += 1
        self._running.remove(sequence)
        self._free(sequence)
        sequence.num_computed = 0
        self._waiting.appendleft(sequence)

    def _free(self, sequence: Sequence) -> None:
        assert sequence.window is not None, "a running sequence has a window"
        self._blocks.free(reversed(sequence.blocks))
        self._blocks.free_window(sequence.window)
        sequence.blocks, sequence.window = [], None
