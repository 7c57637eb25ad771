"""The next id from scores that are exact only where it matters.

A rounded scan of the vocabulary leaves some hundred candidates; these are scored exactly, and the
sampler chooses. Where that could differ from exact scores of all, all are scored.
Letters: V vocabulary, M what may come, N shortlist.
"""

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from ossia.engine.request import SampledToken, SamplingParams
from ossia.engine.sampler import choose, penalised
from ossia.model.logits import RowLogits

Float32 = NDArray[np.float32]
Int32 = NDArray[np.int32]

SAMPLED = 16
"""Every so many-th score is looked at to find where the shortlist begins."""
AIM = 128
"""Candidates, about."""
MOST = 8 * AIM
"""More candidates than this: the scores are so even that a shortlist saves nothing."""
SAFETY = 2.0
"""The best must be above the rest by so many times the largest error seen in the shortlist: that
error is about three standard deviations, so twice it is six."""


class OneDraw:
    """A generator that gives one number, however often it is asked."""

    def __init__(self, generator: np.random.Generator) -> None:
        self._generator = generator
        self._number: float | None = None

    def random(self) -> float:
        """The number; drawn when it is first asked for."""
        if self._number is None:
            self._number = self._generator.random()
        return self._number


def choose_from(
    scores: RowLogits,
    params: SamplingParams,
    *,
    allowed: tuple[int, ...] | NDArray[np.bool_] | None,
    prompt: Iterable[int],
    written: Mapping[int, int],
    generator: np.random.Generator,
) -> SampledToken:
    """Choose one id as `choose` does from exact scores.

    With temperature 0 the same id. Else the same distribution, but for ids outside the shortlist:
    their share of the whole is estimated, and a draw among them is decided by exact scores.
    """
    draw = OneDraw(generator)
    if isinstance(allowed, tuple):
        logits_V = np.full(scores.size, -np.inf, np.float32)
        logits_V[list(allowed)] = scores.exact_ids(np.array(allowed, np.int32))
    else:
        mixed_V, id_N = shortlisted(scores, params, allowed, prompt, written)
        if id_N is not None:
            sampled = choose(
                mixed_V, params, allowed=allowed, prompt=prompt, written=written, generator=draw
            )
            place = np.searchsorted(id_N, sampled.token_id)
            if place < len(id_N) and id_N[place] == sampled.token_id:
                return sampled
        logits_V = scores.exact_V
    return choose(logits_V, params, allowed=allowed, prompt=prompt, written=written, generator=draw)


def shortlisted(
    scores: RowLogits,
    params: SamplingParams,
    allowed: NDArray[np.bool_] | None,
    prompt: Iterable[int],
    written: Mapping[int, int],
) -> tuple[Float32, Int32 | None]:
    """Rounded scores with exact ones in place of the best, and where those are, ascending.

    Returns:
        logits_V and id_N; None for id_N where a shortlist cannot be trusted or is not offered.
    """
    approximate_V = scores.approximate_V if params.logprobs is None else None
    if approximate_V is None:
        return scores.exact_V, None
    hoped_V = penalised(approximate_V, params, prompt, written)
    if allowed is not None:
        hoped_V = np.where(allowed, hoped_V, -np.inf)
    bar, is_whole = _bar(hoped_V)
    id_N = np.flatnonzero(hoped_V >= bar).astype(np.int32)
    if not 0 < len(id_N) <= MOST:
        return approximate_V, None
    mixed_V = approximate_V.copy()
    mixed_V[id_N] = scores.exact_ids(id_N)
    error = np.abs(mixed_V[id_N] - approximate_V[id_N]).max()
    best = penalised(mixed_V, params, prompt, written)[id_N].max()
    is_safe = is_whole or best - bar > SAFETY * error  # never with a score that is no number
    return mixed_V, (id_N if is_safe else None)


def _bar(hoped_V: Float32) -> tuple[np.float32, bool]:
    """A score that about `AIM` ids reach, judged by a sample; and whether no other may come."""
    sampled_S = hoped_V[::SAMPLED]
    rank = AIM // SAMPLED
    if len(sampled_S) >= rank:
        bar = np.partition(sampled_S, -rank)[-rank]
        if np.isfinite(bar):
            return np.float32(bar), False
    possible_M = hoped_V[np.isfinite(hoped_V)]
    if len(possible_M) <= AIM:
        return np.float32(possible_M.min(initial=np.inf)), True
    return np.float32(np.partition(possible_M, -AIM)[-AIM]), False
