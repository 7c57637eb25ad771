"""The loop: schedule, run, update. Knows ids only; text, tools and wire formats live upstairs."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

import numpy as np

from ossia.engine.approximate_sampler import sample_approximate
from ossia.engine.block_manager import BlockManager
from ossia.engine.ngram_draft import MAX_DRAFT, DecodeTimes, NgramProposer
from ossia.engine.options import EnginePlan
from ossia.engine.request import (
    EngineRequest,
    FinishReason,
    SampledToken,
    SamplingParams,
    TokenEvent,
    is_allowed,
)
from ossia.engine.scheduler import CacheCopy, ScheduledRequest, Scheduler
from ossia.errors import ContextOverflow, RequestError
from ossia.model.forward_batch import ForwardBatch, SequenceSlice
from ossia.model.kv_cache import KvCache
from ossia.model.logits import RowLogits, StepLogits
from ossia.model.transformer import Transformer


@dataclass(slots=True)
class RequestState:
    """One request, while it runs."""

    request_id: int
    request: EngineRequest
    tokens: list[int]
    """Prompt and answer so far."""
    max_total: int
    """Tokens at which the length limit or the context ends it."""
    generator: np.random.Generator
    output_token_counts: Counter[int] = field(default_factory=Counter)
    cached_tokens: int | None = None
    """Of the prompt, those found in the prefix cache; None: it was not begun yet."""
    proposer: NgramProposer = field(default_factory=NgramProposer)
    draft_tokens: list[int] = field(default_factory=list)
    """Run in this step behind the last token, to see whether they are accepted."""
    num_accepted: int = 0
    """How many of them were accepted."""
    is_decoding: bool = False
    """Whether a token was sampled yet."""


@dataclass(frozen=True, slots=True)
class EngineLoad:
    """How busy an engine is."""

    steps: int
    """Run so far: a number that stands still while requests wait tells of a stuck engine."""
    running: int
    waiting: int
    cache_usage: float
    """Share of the KV cache that running requests use, 0 to 1."""
    preempted: int
    """Requests that had to begin anew, so far."""


class Engine:
    """Runs many requests over one model. Not for several threads: see service.py."""

    def __init__(
        self,
        model: Transformer[Any],
        plan: EnginePlan,
        block_size: int,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Allocate the KV cache.

        Args:
            model: any backend's.
            plan: see `resolve`.
            block_size: tokens whose keys are in one block of the cache.
            clock: seconds; it decides how much is drafted, never what is written.
        """
        self.model = model
        self.plan = plan
        self._clock = clock
        self._decode_times = DecodeTimes()
        num_windows = plan.max_running + plan.max_cached_prefixes
        self._cache: KvCache[Any] = KvCache(
            model.config,
            model.ops,
            num_pages=plan.num_blocks,
            num_windows=num_windows,
            page_tokens=block_size,
        )
        self._blocks = BlockManager(
            num_blocks=plan.num_blocks, num_windows=num_windows, block_size=block_size
        )
        self._scheduler = Scheduler(
            self._blocks,
            max_running=plan.max_running,
            max_batch_tokens=plan.max_batch_tokens,
            max_cached_prefixes=plan.max_cached_prefixes,
        )
        # so many keys may be written to a window and taken back, and none before them is missing
        window = model.config.sliding_window
        spare = min(self._cache.pages_per_window * block_size - window, window - 1)
        self._max_draft = min(MAX_DRAFT, spare) if plan.speculate else 0
        self._requests: dict[int, RequestState] = {}
        self._new: list[RequestState] = []
        self._next_id = 0
        self._num_steps = 0

    @property
    def load(self) -> EngineLoad:
        """How busy it is; any thread may read it."""
        return EngineLoad(
            steps=self._num_steps,
            running=self._scheduler.num_running,
            waiting=self._scheduler.num_waiting,
            cache_usage=1 - self._blocks.num_available_blocks / self.plan.num_blocks,
            preempted=self._scheduler.num_preempted,
        )

    @property
    def idle(self) -> bool:
        """Whether there is nothing to run."""
        return self._scheduler.idle

    def check(self, prompt: list[int], params: SamplingParams) -> None:
        """Refuse a request that could not run; any thread may call it.

        Raises:
            ContextOverflow: the prompt leaves no room for an answer.
            RequestError: the prompt is empty, or an id is not one of the model's.
        """
        size = self.model.config.vocab_size
        if not prompt:
            raise RequestError("the prompt is empty; give at least one token")
        named = (*prompt, *params.logit_bias, *params.stop_token_ids)
        if wrong := [each for each in named if not 0 <= each < size]:
            raise RequestError(f"token id {wrong[0]} is not one of this model's {size}")
        if len(prompt) >= self.plan.context_length:
            raise ContextOverflow(len(prompt), self.plan.context_length)

    def submit(self, request: EngineRequest) -> int:
        """Queue a request; its events come out of `step`.

        Returns:
            The id that its events carry.

        Raises:
            RequestError: see `check`.
        """
        prompt, params = request.prompt, request.params
        self.check(prompt, params)
        most = len(prompt) + (params.max_tokens or self.plan.context_length)
        state = RequestState(
            request_id=self._next_id,
            request=request,
            tokens=list(prompt),
            max_total=min(most, self.plan.context_length),
            generator=np.random.Generator(np.random.Philox(_seed(params.seed))),
        )
        self._next_id += 1
        self._requests[state.request_id] = state
        self._scheduler.add(
            state.request_id, state.tokens, request.cache_points, request.cache_salt
        )
        self._new.append(state)
        return state.request_id

    def cancel(self, request_id: int) -> None:
        """Stop a request; it gives no more events. A request that has ended may be cancelled."""
        if self._requests.pop(request_id, None) is not None:
            self._scheduler.remove(request_id)
            self._new = [one for one in self._new if one.request_id != request_id]

    def step(self) -> list[TokenEvent]:
        """Run every scheduled request a little further; return the tokens that came out."""
        began, events = self._clock(), list[TokenEvent]()
        arrived, self._new = self._new, []
        for state in arrived:
            self._guarded(self._force, state, events)
        for state in list(self._requests.values()):
            self._guarded(self._draft, state, events)
        drafts = {each.request_id: len(each.draft_tokens) for each in self._requests.values()}
        output = self._scheduler.schedule(drafts)
        if not output.requests:
            return events
        self._copy(output.copies)
        logits = self._run(output.requests)
        self._num_steps += 1
        self._copy(self._scheduler.update_after_step(output.requests))
        row = 0
        for scheduled in output.requests:
            if scheduled.samples:
                rows = [
                    RowLogits(logits, row + draft)
                    for draft in range(1 + scheduled.num_draft_tokens)
                ]
                row += len(rows)
                state = self._requests[scheduled.request_id]
                self._guarded(self._advance, state, events, rows)
        self._measure(output.requests, self._clock() - began)
        return events

    def _run(self, scheduled: list[ScheduledRequest]) -> StepLogits:
        """One forward pass: logits after each last token, and after each draft token."""
        for each in scheduled:
            state = self._requests[each.request_id]
            state.draft_tokens = state.draft_tokens[: each.num_draft_tokens]
            if state.cached_tokens is None:
                state.cached_tokens = min(each.num_computed_tokens, len(state.request.prompt))
        window = self.model.config.sliding_window
        batch = build_batch(scheduled, self._requests, self._cache, window=window)
        return StepLogits(self.model, self.model.hidden(batch, self._cache), batch.row_R)

    def _copy(self, copies: list[CacheCopy]) -> None:
        for copy in copies:
            self._cache.copy_window(*copy.window)
            if copy.block is not None:
                self._cache.copy_page(*copy.block)

    def _guarded(
        self,
        advance: Callable[..., object],
        state: RequestState,
        events: list[TokenEvent],
        *arguments: Any,
    ) -> None:
        """One request's fault ends that request only."""
        try:
            advance(state, events, *arguments)
        except Exception as error:
            self.cancel(state.request_id)
            events.append(TokenEvent(state.request_id, None, finish_reason="error", error=error))

    def _draft(self, state: RequestState, events: list[TokenEvent]) -> None:
        """Draft what a decoding request goes on with, up to what is not legal here."""
        state.draft_tokens, state.num_accepted = [], 0
        room = min(self._max_draft, state.max_total - len(state.tokens) - 1)
        if state.is_decoding:
            drafts = state.proposer.propose(state.tokens, room)
            allowed = state.request.constraint.allowed() if drafts else None
            state.draft_tokens = list(takewhile(lambda each: is_allowed(each, allowed), drafts))

    def _advance(
        self, state: RequestState, events: list[TokenEvent], rows: list[RowLogits]
    ) -> None:
        """Sample one token, and one more for each accepted draft; put what must follow each."""
        state.is_decoding = True
        start = len(state.tokens)
        while len(state.tokens) - start == state.num_accepted:
            sampled = sample_approximate(
                rows[state.num_accepted],
                state.request.params,
                allowed=state.request.constraint.allowed(),
                prompt=state.request.prompt,
                output_token_counts=state.output_token_counts,
                generator=state.generator,
            )
            if not self._append(state, sampled, events, forced=False):
                return
            if not self._force(state, events):
                return

    def _force(self, state: RequestState, events: list[TokenEvent]) -> bool:
        """Append what the constraint forces: it runs as one chunk in the next step."""
        for token_id in state.request.constraint.forced(state.max_total - len(state.tokens)):
            if not self._append(state, SampledToken(token_id), events, forced=True):
                return False
        return True

    def _append(
        self,
        state: RequestState,
        sampled: SampledToken,
        events: list[TokenEvent],
        *,
        forced: bool,
    ) -> bool:
        """Add one token; False when it was the last."""
        state.request.constraint.accept(sampled.token_id)
        state.tokens.append(sampled.token_id)
        state.output_token_counts[sampled.token_id] += 1
        state.proposer.policy.count_tokens(1)
        self._verify_draft(state, sampled.token_id)
        reason: FinishReason | None = None
        if (
            state.request.constraint.finished
            or sampled.token_id in state.request.params.stop_token_ids
        ):
            reason = "stop"
        elif len(state.tokens) >= state.max_total:
            reason = "length"
        cached = state.cached_tokens or 0
        events.append(TokenEvent(state.request_id, sampled, forced, reason, cached_tokens=cached))
        if reason is None:
            return True
        del self._requests[state.request_id]
        self._copy(self._scheduler.finish(state.request_id))
        return False

    def _verify_draft(self, state: RequestState, token_id: int) -> None:
        """An accepted draft token has its keys already; after a wrong one the rest is void."""
        if state.draft_tokens[state.num_accepted : state.num_accepted + 1] == [token_id]:
            state.num_accepted += 1
            self._scheduler.accept_drafts(state.request_id, 1)
        else:
            state.draft_tokens = state.draft_tokens[: state.num_accepted]

    def _measure(self, scheduled: list[ScheduledRequest], seconds: float) -> None:
        """What drafts brought and cost, by steps in which every request decoded."""
        if any(
            not r.samples or r.num_scheduled_tokens - r.num_draft_tokens != 1 for r in scheduled
        ):
            return
        num_drafts = sum(each.num_draft_tokens for each in scheduled)
        if num_drafts == 0:
            self._decode_times.record(len(scheduled), seconds)
        longer = self._decode_times.slowdown(len(scheduled), seconds) - 1
        for each in scheduled:
            state = self._requests.get(each.request_id)
            if state is not None and each.num_draft_tokens:
                state.proposer.policy.update(
                    num_draft=each.num_draft_tokens,
                    num_accepted=state.num_accepted,
                    gain=1 + state.num_accepted / len(scheduled),
                    cost=1 + longer * each.num_draft_tokens / num_drafts,
                )


def build_batch(
    scheduled: Sequence[ScheduledRequest],
    requests: Mapping[int, RequestState],
    cache: KvCache[Any],
    *,
    window: int,
) -> ForwardBatch:
    """Lay the scheduled tokens end to end: the only place where the engine's lists become arrays.

    Each request that samples gets a row of logits, and one more for each draft token.

    Args:
        scheduled: from the scheduler.
        requests: by id; each has at least as many draft tokens as were scheduled.
        cache: knows which pages a window is made of.
        window: keys a sliding-window layer may look at.
    """
    slices: list[SequenceSlice] = []
    rows: list[int] = []
    end = 0
    for each in scheduled:
        state, start = requests[each.request_id], each.num_computed_tokens
        num_known = each.num_scheduled_tokens - each.num_draft_tokens
        ids = state.tokens[start : start + num_known]
        ids += state.draft_tokens[: each.num_draft_tokens]
        slices.append(
            SequenceSlice(
                ids=ids,
                past=start,
                pages=each.block_table,
                window_pages=cache.window_pages(each.window),
            )
        )
        end += each.num_scheduled_tokens
        if each.samples:
            rows.extend(range(end - each.num_draft_tokens - 1, end))
    return ForwardBatch.from_slices(slices, rows, window=window)


def _seed(seed: int | None) -> int | None:
    """Philox takes no negative numbers; two's complement keeps every seed apart."""
    return None if seed is None else seed % 2**64
