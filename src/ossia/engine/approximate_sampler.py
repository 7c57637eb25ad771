"""Sample from approximate logits, made exact only where it matters.

A rounded scan of the vocabulary leaves some hundred candidates; their logits are computed exactly,
and the sampler draws. Where that could differ from exact logits of all, all are computed.
Letters: V vocabulary, M ids that are legal, N candidates.
"""

from collections.abc import Iterable, Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ossia.engine.request import SampledToken, SamplingParams
from ossia.engine.sampler import apply_penalties, sample
from ossia.model.logits import RowLogits

Float32 = NDArray[np.float32]
Int32 = NDArray[np.int32]

SAMPLE_STRIDE = 16
"""Every n-th logit is sampled to find the candidates' threshold."""
TARGET_CANDIDATES = 128
"""Approximate number of candidates."""
MAX_CANDIDATES = 8 * TARGET_CANDIDATES
"""With more candidates the logits are so even that refining a few saves nothing."""
SAFETY_MARGIN = 2.0
"""The best must exceed the rest by this multiple of the candidates' largest error: that error is
about three standard deviations, so twice it is six."""


class SingleDraw:
    """A generator that draws once and then repeats that number."""

    def __init__(self, generator: np.random.Generator) -> None:
        self._generator = generator
        self._number: float | None = None

    def random(self) -> float:
        """The number; drawn at the first call."""
        if self._number is None:
            self._number = self._generator.random()
        return self._number


def sample_approximate(
    logits: RowLogits,
    params: SamplingParams,
    *,
    allowed: tuple[int, ...] | NDArray[np.bool_] | None,
    prompt: Iterable[int],
    output_token_counts: Mapping[int, int],
    generator: np.random.Generator,
) -> SampledToken:
    """Sample one id as `sample` does from exact logits; the arguments are the same.

    With temperature 0 the same id. Else the same distribution, except outside the candidates:
    their total probability is estimated, and a draw among them uses exact logits.
    """
    draw = partial(
        sample,
        params=params,
        allowed=allowed,
        prompt=prompt,
        output_token_counts=output_token_counts,
        generator=SingleDraw(generator),
    )
    if isinstance(allowed, tuple):
        logits_V = np.full(logits.size, -np.inf, np.float32)
        logits_V[list(allowed)] = logits.exact_ids(np.array(allowed, np.int32))
    else:
        refined_V, id_N = refine_candidates(logits, params, allowed, prompt, output_token_counts)
        if id_N is not None:
            sampled = draw(refined_V)
            place = np.searchsorted(id_N, sampled.token_id)
            if place < len(id_N) and id_N[place] == sampled.token_id:
                return sampled
        logits_V = logits.exact_V
    return draw(logits_V)


def refine_candidates(
    logits: RowLogits,
    params: SamplingParams,
    allowed: NDArray[np.bool_] | None,
    prompt: Iterable[int],
    output_token_counts: Mapping[int, int],
) -> tuple[Float32, Int32 | None]:
    """Replace the best approximate logits by exact ones; return also their ids, ascending.

    Returns:
        logits_V and id_N; None for id_N where the candidates cannot be trusted, or all are exact.
    """
    approximate_V = logits.approximate_V if params.logprobs is None else None
    if approximate_V is None:
        return logits.exact_V, None
    penalised_V = apply_penalties(approximate_V, params, prompt, output_token_counts)
    if allowed is not None:
        penalised_V = np.where(allowed, penalised_V, -np.inf)
    threshold, is_whole = _threshold(penalised_V)
    id_N = np.flatnonzero(penalised_V >= threshold).astype(np.int32)
    if not 0 < len(id_N) <= MAX_CANDIDATES:
        return approximate_V, None
    refined_V = approximate_V.copy()
    refined_V[id_N] = logits.exact_ids(id_N)
    error = np.abs(refined_V[id_N] - approximate_V[id_N]).max()
    best = apply_penalties(refined_V, params, prompt, output_token_counts)[id_N].max()
    # NaN is never safe
    is_safe = is_whole or best - threshold > SAFETY_MARGIN * error
    return refined_V, (id_N if is_safe else None)


def _threshold(penalised_V: Float32) -> tuple[np.float32, bool]:
    """Estimate the logit that about `TARGET_CANDIDATES` ids reach; and whether they are all."""
    sampled_S = penalised_V[::SAMPLE_STRIDE]
    rank = TARGET_CANDIDATES // SAMPLE_STRIDE
    if len(sampled_S) >= rank:
        threshold = np.partition(sampled_S, -rank)[-rank]
        if np.isfinite(threshold):
            return np.float32(threshold), False
    possible_M = penalised_V[np.isfinite(penalised_V)]
    if len(possible_M) <= TARGET_CANDIDATES:
        return np.float32(possible_M.min(initial=np.inf)), True
    return np.float32(np.partition(possible_M, -TARGET_CANDIDATES)[-TARGET_CANDIDATES]), False
