"""The engine's loop: schedule, run, update. Knows token ids only."""

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
    """State of a running request."""

    request_id: int
    request: EngineRequest
    tokens: list[int]
    """Prompt and answer so far."""
    max_total: int
    """Total length at which the token limit or the context ends it."""
    generator: np.random.Generator
    output_token_counts: Counter[int] = field(default_factory=Counter)
    cached_tokens: int | None = None
    """Prompt tokens found in the prefix cache; None: it has not started."""
    proposer: NgramProposer = field(default_factory=NgramProposer)
    draft_tokens: list[int] = field(default_factory=list)
    """Draft tokens to verify in this step, after the last token."""
    num_accepted: int = 0
    """Number of accepted draft tokens."""
    is_decoding: bool = False
    """Whether a token has been sampled."""


@dataclass(frozen=True, slots=True)
class EngineLoad:
    """Load of an engine."""

    steps: int
    """Steps so far; if it stops growing while requests wait, the engine is stuck."""
    running: int
    waiting: int
    cache_usage: float
    """Share of the KV cache used by running requests, 0 to 1."""
    preempted: int
    """Preemptions so far."""


class Engine:
    """Runs many requests over one model. Not thread-safe: see service.py."""

    def __init__(
        self,
        model: Transformer[Any],
        plan: EnginePlan,
        block_size: int,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Allocate the KV cache.

        Args:
            model: of any backend.
            plan: see `resolve`.
            block_size: tokens per block of the KV cache.
            clock: seconds; affects how much is drafted, never the output.
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
        """The current load; thread-safe."""
        return EngineLoad(
            steps=self._num_steps,
            running=self._scheduler.num_running,
            waiting=self._scheduler.num_waiting,
            cache_usage=1 - self._blocks.num_available_blocks / self.plan.num_blocks,
            preempted=self._scheduler.num_preempted,
        )

    @property
    def idle(self) -> bool:
        """Whether no request is running or waiting."""
        return self._scheduler.idle

    def check(self, prompt: list[int], params: SamplingParams) -> None:
        """Validate a request; thread-safe.

        Raises:
            ContextOverflow: the prompt leaves no room for an answer.
            RequestError: the prompt is empty, or an id is outside the vocabulary.
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
        """Cancel a request; it yields no more events. A finished one may be cancelled too."""
        if self._requests.pop(request_id, None) is not None:
            self._scheduler.remove(request_id)
            self._new = [one for one in self._new if one.request_id != request_id]

    def step(self) -> list[TokenEvent]:
        """Run one step of every scheduled request; return the new tokens."""
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
        """Run one forward pass: logits after each last token and each draft token."""
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
        """Call a function; an exception ends its request only."""
        try:
            advance(state, events, *arguments)
        except Exception as error:
            self.cancel(state.request_id)
            events.append(TokenEvent(state.request_id, None, finish_reason="error", error=error))

    def _draft(self, state: RequestState, events: list[TokenEvent]) -> None:
        """Draft tokens for a decoding request, up to the first that is not allowed."""
        state.draft_tokens, state.num_accepted = [], 0
        room = min(self._max_draft, state.max_total - len(state.tokens) - 1)
        if state.is_decoding:
            drafts = state.proposer.propose(state.tokens, room)
            allowed = state.request.constraint.allowed() if drafts else None
            state.draft_tokens = list(takewhile(lambda each: is_allowed(each, allowed), drafts))

    def _advance(
        self, state: RequestState, events: list[TokenEvent], rows: list[RowLogits]
    ) -> None:
        """Sample one token, and one more for each accepted draft; append forced tokens."""
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
        """Append the tokens that the constraint forces: they run as one chunk in the next step."""
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
        """Append one token; False if it was the last."""
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
        """Compare a token with the draft: accept it, or drop the rest of the draft."""
        if state.draft_tokens[state.num_accepted : state.num_accepted + 1] == [token_id]:
            state.num_accepted += 1
            self._scheduler.accept_drafts(state.request_id, 1)
        else:
            state.draft_tokens = state.draft_tokens[: state.num_accepted]

    def _measure(self, scheduled: list[ScheduledRequest], seconds: float) -> None:
        """Measure the gain and cost of drafts, in steps where every request decoded."""
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
    """Build the forward batch; the only place where the engine's lists become arrays.

    Each sampling request gets a row of logits, and one more for each draft token.

    Args:
        scheduled: from the scheduler.
        requests: by id; each has at least as many draft tokens as scheduled.
        cache: maps windows to pages.
        window: keys that a sliding-window layer attends to.
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
    """Convert to Philox's unsigned range; two's complement keeps seeds distinct."""
    return None if seed is None else seed % 2**64
