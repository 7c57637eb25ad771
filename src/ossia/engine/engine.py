"""The loop: schedule, run, settle. Knows ids only; text, tools and wire formats live upstairs."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

import numpy as np

from ossia.engine.approximate_sampler import choose_from
from ossia.engine.batch import build_step
from ossia.engine.block_manager import PageOwner
from ossia.engine.ngram_draft import MOST, Guesser, Pace
from ossia.engine.options import EnginePlan
from ossia.engine.request import (
    FinishReason,
    Guide,
    SampledToken,
    SamplingParams,
    TokenEvent,
    may_come,
)
from ossia.engine.scheduler import Copy, Scheduler, Turn
from ossia.errors import ContextOverflow, RequestError
from ossia.model.kv_cache import KvCache
from ossia.model.logits import RowLogits, StepLogits
from ossia.model.transformer import Transformer


@dataclass(slots=True)
class RequestState:
    """One request, while it runs."""

    request_id: int
    prompt: list[int]
    tokens: list[int]
    """Prompt and answer so far."""
    max_total: int
    """Tokens at which the length limit or the context ends it."""
    params: SamplingParams
    guide: Guide
    generator: np.random.Generator
    written: Counter[int] = field(default_factory=Counter)
    cached_tokens: int | None = None
    """Of the prompt, those whose keys were at hand; None: it was not begun yet."""
    guesser: Guesser = field(default_factory=Guesser)
    guesses: list[int] = field(default_factory=list)
    """Run in this step behind the last token, to see whether they come true."""
    num_true: int = 0
    """How many of them have come true."""
    is_writing: bool = False
    """Whether a token was sampled yet."""


@dataclass(frozen=True, slots=True)
class EngineLoad:
    """How busy an engine is."""

    steps: int
    """Run so far: a number that stands still while requests wait tells of a stuck engine."""
    running: int
    waiting: int
    cache_usage: float
    """Share of the cache that running requests hold, 0 to 1."""
    preempted: int
    """Requests that had to begin anew, so far."""


class Engine:
    """Runs many requests over one model. Not for several threads: see service.py."""

    def __init__(
        self,
        model: Transformer[Any],
        plan: EnginePlan,
        page_tokens: int,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Make room for the keys.

        Args:
            model: any backend's.
            plan: see `resolve`.
            page_tokens: keys in a page.
            clock: seconds; it decides how much is guessed, never what is written.
        """
        self.model = model
        self.plan = plan
        self._clock = clock
        self._pace = Pace()
        num_windows = plan.max_running + plan.max_cached_prefixes
        self._cache: KvCache[Any] = KvCache(
            model.config,
            model.ops,
            num_pages=plan.num_pages,
            num_windows=num_windows,
            page_tokens=page_tokens,
        )
        self._pages = PageOwner(
            num_pages=plan.num_pages, num_windows=num_windows, page_tokens=page_tokens
        )
        self._scheduler = Scheduler(
            self._pages,
            max_running=plan.max_running,
            max_batch_tokens=plan.max_batch_tokens,
            max_kept=plan.max_cached_prefixes,
        )
        # so many keys may be written to a ring and taken back, and no key before them is missing
        window = model.config.sliding_window
        spare = min(self._cache.pages_per_window * page_tokens - window, window - 1)
        self._most_guesses = min(MOST, spare) if plan.speculate else 0
        self._requests: dict[int, RequestState] = {}
        self._new: list[RequestState] = []
        self._next_id = 0
        self._num_steps = 0

    @property
    def load(self) -> EngineLoad:
        """How busy it is; may be asked from any thread."""
        return EngineLoad(
            steps=self._num_steps,
            running=self._scheduler.num_running,
            waiting=self._scheduler.num_waiting,
            cache_usage=1 - self._pages.available / self.plan.num_pages,
            preempted=self._scheduler.num_preempted,
        )

    @property
    def idle(self) -> bool:
        """Whether there is nothing to run."""
        return self._scheduler.idle

    def check(self, prompt: list[int], params: SamplingParams) -> None:
        """Refuse a request that could not run; asks only what never changes, from any thread.

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

    def submit(
        self,
        prompt: list[int],
        params: SamplingParams,
        guide: Guide,
        cache_points: Sequence[int] = (),
    ) -> int:
        """Queue a request; its events come out of `step`.

        Args:
            prompt: token ids, at least one.
            params: how to sample.
            guide: what may be written; used by this request alone.
            cache_points: lengths of the prompt at which others that begin alike may part from it,
                so that it is worth keeping what was read so far. Its whole length is one anyway.

        Returns:
            The id that its events carry.

        Raises:
            RequestError: see `check`.
        """
        self.check(prompt, params)
        most = len(prompt) + (params.max_tokens or self.plan.context_length)
        request = RequestState(
            request_id=self._next_id,
            prompt=prompt,
            tokens=list(prompt),
            max_total=min(most, self.plan.context_length),
            params=params,
            guide=guide,
            generator=np.random.Generator(np.random.Philox(_seed(params.seed))),
        )
        self._next_id += 1
        self._requests[request.request_id] = request
        self._scheduler.add(request.request_id, request.tokens, cache_points)
        self._new.append(request)
        return request.request_id

    def cancel(self, request_id: int) -> None:
        """Stop a request; it gives no more events. A request that has ended may be cancelled."""
        if self._requests.pop(request_id, None) is not None:
            self._scheduler.remove(request_id)
            self._new = [one for one in self._new if one.request_id != request_id]

    def step(self) -> list[TokenEvent]:
        """Run every scheduled request a little further; return the tokens that came out."""
        began, events = self._clock(), list[TokenEvent]()
        arrived, self._new = self._new, []
        for request in arrived:
            self._guarded(self._force, request, events)
        for request in list(self._requests.values()):
            self._guarded(self._guess, request, events)
        guesses = {one.request_id: len(one.guesses) for one in self._requests.values()}
        work = self._scheduler.next_step(guesses)
        if not work.turns:
            return events
        self._copy(work.copies)
        scores = self._run(work.turns)
        self._num_steps += 1
        self._copy(self._scheduler.settle(work.turns))
        row = 0
        for turn in work.turns:
            if turn.samples:
                rows = [RowLogits(scores, row + guess) for guess in range(1 + turn.guesses)]
                row += len(rows)
                self._guarded(self._advance, self._requests[turn.request_id], events, rows)
        self._measure(work.turns, self._clock() - began)
        return events

    def _run(self, turns: list[Turn]) -> StepLogits:
        """One step of the model: scores after each last token, and after each guess."""
        requests = {turn.request_id: self._requests[turn.request_id] for turn in turns}
        for turn, request in zip(turns, requests.values(), strict=True):
            request.guesses = request.guesses[: turn.guesses]
            if request.cached_tokens is None:
                request.cached_tokens = min(turn.past, len(request.prompt))
        step = build_step(
            turns,
            {key: one.tokens for key, one in requests.items()},
            {key: one.guesses for key, one in requests.items()},
            self._cache,
            window=self.model.config.sliding_window,
        )
        return StepLogits(self.model, self.model.hidden(step, self._cache), step.row_R)

    def _copy(self, copies: list[Copy]) -> None:
        for copy in copies:
            self._cache.copy_window(*copy.ring)
            if copy.page is not None:
                self._cache.copy_page(*copy.page)

    def _guarded(
        self,
        advance: Callable[..., object],
        request: RequestState,
        events: list[TokenEvent],
        *given: Any,
    ) -> None:
        """One request's fault ends that request only."""
        try:
            advance(request, events, *given)
        except Exception as error:
            self.cancel(request.request_id)
            events.append(TokenEvent(request.request_id, None, finish_reason="error", error=error))

    def _guess(self, request: RequestState, events: list[TokenEvent]) -> None:
        """Guess what a request that writes goes on with, up to what is not legal here."""
        request.guesses, request.num_true = [], 0
        room = min(self._most_guesses, request.max_total - len(request.tokens) - 1)
        if request.is_writing:
            found = request.guesser.guess(request.tokens, room)
            allowed = request.guide.allowed() if found else None
            request.guesses = list(takewhile(lambda each: may_come(each, allowed), found))

    def _advance(
        self, request: RequestState, events: list[TokenEvent], rows: list[RowLogits]
    ) -> None:
        """Sample one token, and as many more as guesses come true; put what must follow each."""
        request.is_writing = True
        start = len(request.tokens)
        while len(request.tokens) - start == request.num_true:
            sampled = choose_from(
                rows[request.num_true],
                request.params,
                allowed=request.guide.allowed(),
                prompt=request.prompt,
                written=request.written,
                generator=request.generator,
            )
            if not self._append(request, sampled, events, forced=False):
                return
            if not self._force(request, events):
                return

    def _force(self, request: RequestState, events: list[TokenEvent]) -> bool:
        """Append what the guide leaves no choice about: it runs as one chunk in the next step."""
        for token_id in request.guide.forced(request.max_total - len(request.tokens)):
            if not self._append(request, SampledToken(token_id), events, forced=True):
                return False
        return True

    def _append(
        self,
        request: RequestState,
        sampled: SampledToken,
        events: list[TokenEvent],
        *,
        forced: bool,
    ) -> bool:
        """Add one token; False when it was the last."""
        request.guide.accept(sampled.token_id)
        request.tokens.append(sampled.token_id)
        request.written[sampled.token_id] += 1
        request.guesser.gate.wrote(1)
        self._compare(request, sampled.token_id)
        reason: FinishReason | None = None
        if request.guide.finished or sampled.token_id in request.params.stop_token_ids:
            reason = "stop"
        elif len(request.tokens) >= request.max_total:
            reason = "length"
        cached = request.cached_tokens or 0
        events.append(TokenEvent(request.request_id, sampled, forced, reason, cached_tokens=cached))
        if reason is None:
            return True
        del self._requests[request.request_id]
        self._copy(self._scheduler.finish(request.request_id))
        return False

    def _compare(self, request: RequestState, token_id: int) -> None:
        """A guess that came true has its keys already; after a wrong one the rest is void."""
        if request.guesses[request.num_true : request.num_true + 1] == [token_id]:
            request.num_true += 1
            self._scheduler.confirm(request.request_id, 1)
        else:
            request.guesses = request.guesses[: request.num_true]

    def _measure(self, turns: list[Turn], seconds: float) -> None:
        """What guessing brought and cost, by steps in which nothing else but writing was done."""
        if any(not turn.samples or turn.count - turn.guesses != 1 for turn in turns):
            return
        num_guesses = sum(turn.guesses for turn in turns)
        if num_guesses == 0:
            self._pace.measured(len(turns), seconds)
        longer = self._pace.cost(len(turns), seconds) - 1
        for turn in turns:
            request = self._requests.get(turn.request_id)
            if request is not None and turn.guesses:
                request.guesser.gate.tried(
                    guesses=turn.guesses,
                    true=request.num_true,
                    gain=1 + request.num_true / len(turns),
                    cost=1 + longer * turn.guesses / num_guesses,
                )


def _seed(seed: int | None) -> int | None:
    """Philox takes no negative numbers; two's complement keeps every seed apart."""
    return None if seed is None else seed % 2**64
