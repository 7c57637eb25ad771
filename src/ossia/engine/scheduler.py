"""Schedules requests and their tokens for each step. Integers only: no array, no clock.

First come, first served. Decoding requests go first, with one token each (or forced tokens, or
draft tokens); the rest of the step goes to prefill, in chunks that are short while others decode.
When blocks run out, cached prefixes are evicted; then the youngest request is preempted: its
tokens stay, and their keys are computed again.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from ossia.engine.block_manager import BlockManager
from ossia.engine.prefix_cache import CachedPrefix, PrefixCache, common_prefix_length

PREFILL_SHARE = 8
"""While others decode, prefill gets this fraction (1/n) of a step, to limit their latency."""
NO_DRAFTS: Mapping[int, int] = MappingProxyType({})


@dataclass(slots=True, eq=False)
class Sequence:
    """The scheduler's state of a request."""

    request_id: int
    tokens: list[int]
    """Prompt and answer so far: the engine's own list, which grows."""
    num_prompt: int
    cache_points: set[int]
    """Lengths at which to insert the prefix into the prefix cache."""
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
    """One request in one step: tokens to run, and whether to sample."""

    request_id: int
    num_computed_tokens: int
    num_scheduled_tokens: int
    block_table: tuple[int, ...]
    window: int
    samples: bool
    num_draft_tokens: int = 0
    """Number of draft tokens among the scheduled ones."""


class CacheCopy(NamedTuple):
    """Keys and values to copy, as (source, target)."""

    window: tuple[int, int]
    """Windows, in every sliding-window layer."""
    block: tuple[int, int] | None = None
    """Blocks, in every full layer."""


class SchedulerOutput(NamedTuple):
    """One step: copies to make first, in order, then the requests to run, oldest first."""

    copies: list[CacheCopy]
    requests: list[ScheduledRequest]


class Scheduler:
    """Schedules steps; call `update_after_step` after each."""

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
        """Number of preemptions."""

    @property
    def idle(self) -> bool:
        """Whether no request is running or waiting."""
        return not self._waiting and not self._running

    @property
    def num_running(self) -> int:
        """Number of requests with blocks, or that get them in the next step."""
        return len(self._running)

    @property
    def num_waiting(self) -> int:
        """Number of waiting requests."""
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
            request_id: unique.
            tokens: the prompt; sampled tokens are appended to this list.
            cache_points: lengths at which to cache the prefix.
            cache_salt: only requests with equal salt share prefixes.
        """
        inside = {each for each in cache_points if 0 < each < len(tokens)}
        self._waiting.append(Sequence(request_id, tokens, len(tokens), inside, cache_salt))

    def remove(self, request_id: int) -> None:
        """Remove a request, running or waiting, and free its blocks."""
        for sequence in self._running:
            if sequence.request_id == request_id:
                self._free(sequence)
                self._running.remove(sequence)
                return
        self._waiting = deque(each for each in self._waiting if each.request_id != request_id)

    def finish(self, request_id: int) -> list[CacheCopy]:
        """Remove a finished request and cache it, for a turn that continues it."""
        copies = [
            copy
            for sequence in self._running
            if sequence.request_id == request_id
            for copy in self._cache_prefix(sequence)
        ]
        self.remove(request_id)
        return copies

    def schedule(self, drafts: Mapping[int, int] = NO_DRAFTS) -> SchedulerOutput:
        """Schedule one step; empty only when idle.

        Args:
            drafts: number of draft tokens of decoding requests; they may be dropped, and never
                preempt another request.
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
        """Count the computed tokens, without drafts; return the copies to make next."""
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
        """Count accepted draft tokens of the last step as computed."""
        for sequence in self._running:
            if sequence.request_id == request_id:
                sequence.num_computed += num_tokens

    def _is_prefill(self, sequence: Sequence) -> bool:
        """Whether the request is in prefill; fewer tokens than a block may be forced ones."""
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
        """Schedule a sequence in the rest of a step; None: it was preempted."""
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
        """Whether an older request is prefilling a common prefix, which this one can reuse."""
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
        """Start a sequence without keys after its longest cached prefix."""
        if sequence.blocks:
            return None
        length = self._prefix_cache.longest_common_prefix(sequence.tokens, sequence.cache_salt)
        prefix = self._prefix_cache.find(sequence.tokens, sequence.cache_salt)
        if prefix is not None:
            # the last token always runs: its logits are needed
            sequence.num_computed = min(len(prefix.tokens), sequence.num_uncomputed - 1)
            num_whole = sequence.num_computed // self._blocks.block_size
            sequence.blocks = list(prefix.blocks[:num_whole])
            self._blocks.share(sequence.blocks)
        if length >= sequence.num_computed + self._blocks.block_size:
            sequence.cache_points.add(length)
        return prefix

    def _copy_of(self, prefix: CachedPrefix, sequence: Sequence, length: int) -> CacheCopy:
        """Return the copies for a prefix: a partly filled block is copied, not shared."""
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
        """Allocate blocks for `num_tokens`, preempting the youngest; False if that is this one."""
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
