"""Measures an open model through an engine of its own, on random tokens. Prints nothing."""

import time
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ossia import LLM

SEED = 20_260_101
"""Of the random tokens: every run measures the same ones."""
SHORT_TOKENS = 16
"""Of the prompt that is read first."""
LEAST_CHUNK = 64
"""Tokens of waiting prompts that a step reads at least."""


@dataclass(frozen=True, slots=True)
class Prefill:
    """Reading one prompt."""

    tokens: int
    tokens_per_second: float


@dataclass(frozen=True, slots=True)
class Decode:
    """Writing after prompts of `depth` tokens, `batch` requests at once; the rate is of all."""

    tokens: int
    batch: int
    depth: int
    tokens_per_second: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What is measured: each number of tokens read, each combination of the others written."""

    prefills: tuple[int, ...]
    decodes: tuple[int, ...]
    batches: tuple[int, ...]
    depths: tuple[int, ...]

    @property
    def written_early(self) -> int:
        """Tokens that the first of a batch writes while the last is read, `LEAST_CHUNK` a step."""
        return max(self.batches) * (max(self.depths) // LEAST_CHUNK + 2)

    @property
    def longest(self) -> int:
        """Tokens of the longest request."""
        return max(SHORT_TOKENS + 1, max(self.prefills) + 1, self.longest_decode)

    @property
    def longest_decode(self) -> int:
        """Tokens of the longest request that writes."""
        return max(self.depths) + self.written_early + max(self.decodes)


def prompt_ids(vocab_size: int, count: int, seed: int) -> list[int]:
    """Ids of one random prompt; different seeds begin with different ids, so none is shared."""
    import numpy as np

    rng = np.random.default_rng([SEED, count, seed])
    return [int(each) for each in rng.integers(vocab_size, size=count)]


class Meter:
    """One model, and an engine over it as large as the work asks for."""

    def __init__(self, llm: "LLM", work: Work) -> None:
        from ossia.engine.engine import Engine
        from ossia.engine.options import EngineOptions, resolve
        from ossia.model.kv_cache import PAGE_TOKENS

        batch = max(work.batches)
        options = EngineOptions(
            context_length=llm.context_length,
            max_running=batch,
            max_batch_tokens=max(EngineOptions().max_batch_tokens, 2 * batch),
            pool_tokens=llm.context_length + batch * (work.longest_decode + PAGE_TOKENS),
            max_cached_prefixes=0,  # what was read is read again
            speculate=False,  # random weights soon write in circles, which are easily guessed
        )
        self._work = work
        self._engine = Engine(llm.model, resolve(options, llm.config, PAGE_TOKENS), PAGE_TOKENS)

    def first_token(self) -> None:
        """Read a short prompt and choose one token: afterwards everything is in its place."""
        self._read(SHORT_TOKENS)

    def prefills(self) -> list[Prefill]:
        """Read one prompt of each length."""
        return [Prefill(count, count / self._read(count)) for count in self._work.prefills]

    def decodes(self) -> list[Decode]:
        """Write in every combination of depth, batch and number of tokens."""
        work = self._work
        return [self._decode(*each) for each in product(work.depths, work.batches, work.decodes)]

    def _submit(self, num_prompt: int, max_tokens: int, seed: int) -> int:
        """Queue a request of a forced length: no token ends it."""
        from ossia.engine.request import EngineRequest, SamplingParams, Unconstrained

        prompt = prompt_ids(self._engine.model.config.vocab_size, num_prompt, seed)
        params = SamplingParams(temperature=0, max_tokens=max_tokens)
        return self._engine.submit(
            EngineRequest(prompt, params, Unconstrained(stop_ids=frozenset()))
        )

    def _read(self, count: int) -> float:
        """Seconds to read a prompt and choose one token."""
        self._submit(count, 1, seed=0)
        began = time.perf_counter()
        while not self._engine.idle:
            self._engine.step()
        return time.perf_counter() - began

    def _decode(self, depth: int, batch: int, tokens: int) -> Decode:
        """Time the steps in which every request of the batch writes."""
        room = self._engine.plan.context_length - depth
        waiting = {self._submit(depth, room, seed=1 + index) for index in range(batch)}
        running = set(waiting)
        while waiting:  # reading is not measured here
            waiting -= {event.request_id for event in self._engine.step()}
        began = time.perf_counter()
        events = [event for _ in range(tokens) for event in self._engine.step()]
        seconds = time.perf_counter() - began
        for request_id in running:
            self._engine.cancel(request_id)
        assert all(event.finish_reason is None for event in events), "there is room for all"
        assert len(events) >= tokens * batch, "every request writes at least one token a step"
        return Decode(tokens, batch, depth, len(events) / seconds)
