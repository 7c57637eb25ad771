"""The loop: schedule, run, settle. Knows ids only; text, tools and wire formats live upstairs."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ossia.engine.batch import build_step
from ossia.engine.options import EnginePlan
from ossia.engine.pages import PageOwner
from ossia.engine.request import Choice, FinishReason, Guide, SamplingParams, TokenEvent
from ossia.engine.sampler import choose
from ossia.engine.scheduler import Scheduler
from ossia.errors import ContextOverflow, RequestError
from ossia.model.kv_cache import KvCache
from ossia.model.transformer import Transformer


@dataclass(slots=True)
class Request:
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


class Engine:
    """Runs many requests over one model. Not for several threads: see service.py."""

    def __init__(self, model: Transformer[Any], plan: EnginePlan, page_tokens: int) -> None:
        self.model = model
        self.plan = plan
        self._cache: KvCache[Any] = KvCache(
            model.config,
            model.ops,
            num_pages=plan.num_pages,
            num_rings=plan.max_running,
            page_tokens=page_tokens,
        )
        owner = PageOwner(
            num_pages=plan.num_pages, num_rings=plan.max_running, page_tokens=page_tokens
        )
        self._scheduler = Scheduler(
            owner, max_running=plan.max_running, step_tokens=plan.step_tokens
        )
        self._requests: dict[int, Request] = {}
        self._new: list[Request] = []
        self._next_id = 0

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

    def submit(self, prompt: list[int], params: SamplingParams, guide: Guide) -> int:
        """Queue a request; its events come out of `step`.

        Args:
            prompt: token ids, at least one.
            params: how to sample.
            guide: what may be written; used by this request alone.

        Returns:
            The id that its events carry.

        Raises:
            RequestError: see `check`.
        """
        self.check(prompt, params)
        most = len(prompt) + (params.max_tokens or self.plan.context_length)
        request = Request(
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
        self._scheduler.add(request.request_id, len(prompt))
        self._new.append(request)
        return request.request_id

    def cancel(self, request_id: int) -> None:
        """Stop a request; it gives no more events. A request that has ended may be cancelled."""
        if self._requests.pop(request_id, None) is not None:
            self._scheduler.remove(request_id)
            self._new = [one for one in self._new if one.request_id != request_id]

    def step(self) -> list[TokenEvent]:
        """Run every scheduled request a little further; return the tokens that came out."""
        events: list[TokenEvent] = []
        arrived, self._new = self._new, []
        for request in arrived:
            self._advance(request, None, events)
        turns = self._scheduler.next_step()
        if not turns:
            return events
        tokens = {turn.request_id: self._requests[turn.request_id].tokens for turn in turns}
        window = self.model.config.sliding_window
        step = build_step(turns, tokens, self._cache, window=window)
        logits_RV = self.model.ops.to_numpy(self.model.forward(step, self._cache))
        self._scheduler.settle(turns)
        sampling = [self._requests[turn.request_id] for turn in turns if turn.samples]
        for request, logits_V in zip(sampling, logits_RV, strict=True):
            self._advance(request, logits_V, events)
        return events

    def _advance(
        self, request: Request, logits_V: NDArray[np.float32] | None, events: list[TokenEvent]
    ) -> None:
        """Sample one token, unless the request is new, and put what must follow it."""
        try:
            if logits_V is not None:
                choice = choose(
                    logits_V,
                    request.params,
                    allowed=request.guide.allowed(),
                    prompt=request.prompt,
                    written=request.written,
                    generator=request.generator,
                )
                if not self._append(request, choice, events, forced=False):
                    return
            self._force(request, events)
        except Exception as error:  # one request's fault ends that request only
            self.cancel(request.request_id)
            events.append(TokenEvent(request.request_id, None, finish_reason="error", error=error))

    def _force(self, request: Request, events: list[TokenEvent]) -> None:
        """Append what the guide leaves no choice about: it runs as one chunk in the next step."""
        for token_id in request.guide.forced(request.max_total - len(request.tokens)):
            if not self._append(request, Choice(token_id), events, forced=True):
                return

    def _append(
        self, request: Request, choice: Choice, events: list[TokenEvent], *, forced: bool
    ) -> bool:
        """Add one token; False when it was the last."""
        request.guide.accept(choice.token_id)
        request.tokens.append(choice.token_id)
        request.written[choice.token_id] += 1
        reason: FinishReason | None = None
        if request.guide.finished or choice.token_id in request.params.stop_token_ids:
            reason = "stop"
        elif len(request.tokens) >= request.max_total:
            reason = "length"
        events.append(TokenEvent(request.request_id, choice, forced, reason))
        if reason is None:
            self._scheduler.extend(request.request_id, 1)
            return True
        del self._requests[request.request_id]
        self._scheduler.remove(request.request_id)
        return False


def _seed(seed: int | None) -> int | None:
    """Philox takes no negative numbers; two's complement keeps every seed apart."""
    return None if seed is None else seed % 2**64
