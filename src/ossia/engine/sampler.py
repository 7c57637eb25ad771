"""Samples the next id of one request. Stateless except for the generator.

Letters: V vocabulary, M candidates (all ids, or the few allowed ones).
"""

from collections.abc import Iterable, Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ossia.engine.request import SampledToken, SamplingParams

Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]


MIN_TEMPERATURE = 1e-5
"""Below it float32 logits would overflow; it means greedy sampling."""


class Uniform(Protocol):
    """A random generator."""

    def random(self) -> float:
        """Return a number in [0, 1)."""
        ...


def sample(
    logits_V: Float32,
    params: SamplingParams,
    *,
    allowed: tuple[int, ...] | NDArray[np.bool_] | None,
    prompt: Iterable[int],
    output_token_counts: Mapping[int, int],
    generator: Uniform,
) -> SampledToken:
    """Sample one id.

    Args:
        logits_V: float32, not modified; may be shorter than a mask (padding).
        params: of the request.
        allowed: allowed ids, as a few ids or a mask; None: all.
        prompt: ids of the prompt; used by the repetition penalty only.
        output_token_counts: count of each id in the answer so far.
        generator: the request's own; used once unless sampling is greedy.

    Raises:
        FloatingPointError: no candidate has a finite logit, or one is NaN.
    """
    score_V = apply_penalties(logits_V, params, prompt, output_token_counts)
    if isinstance(allowed, tuple):
        id_M = np.array(allowed, np.int64)
        score_M = score_V[id_M]
    else:
        id_M = None
        score_M = score_V if allowed is None else np.where(allowed, score_V, -np.inf)
    likeliest = int(np.argmax(score_M))
    if not np.isfinite(score_M[likeliest]):
        raise FloatingPointError(f"the best score is {score_M[likeliest]}: the weights are damaged")
    is_drawn = params.temperature >= MIN_TEMPERATURE
    temperature = np.float32(params.temperature if is_drawn else 1.0)
    scaled_M = (score_M - score_M[likeliest]) / temperature
    place = likeliest
    if is_drawn:
        place = _draw(_truncated(np.exp(scaled_M), params), generator.random())
    if params.logprobs is None:
        return SampledToken(_id(id_M, place))
    logprob_M = scaled_M - np.log(np.exp(scaled_M).sum())
    top = _top(logprob_M, params.logprobs)
    return SampledToken(
        _id(id_M, place),
        float(logprob_M[place]),
        tuple((_id(id_M, each), float(logprob_M[each])) for each in top),
    )


def _id(id_M: Int64 | None, place: int) -> int:
    return place if id_M is None else int(id_M[place])


def apply_penalties(
    logits_V: Float32,
    params: SamplingParams,
    prompt: Iterable[int],
    output_token_counts: Mapping[int, int],
) -> Float32:
    """Apply penalties and bias to a copy; without any, return the logits themselves.

    Args:
        logits_V: not modified.
        params: of the request.
        prompt: used by the repetition penalty only.
        output_token_counts: count of each id in the answer so far.
    """
    if not (
        params.logit_bias
        or params.presence_penalty
        or params.frequency_penalty
        or params.repetition_penalty != 1
    ):
        return logits_V
    score_V = logits_V.copy()
    if params.repetition_penalty != 1:
        seen = np.array(sorted({*prompt, *output_token_counts}), np.int64)
        penalty = np.float32(params.repetition_penalty)
        score_V[seen] *= np.where(score_V[seen] > 0, 1 / penalty, penalty)
    if output_token_counts:
        ids, times = np.array(list(output_token_counts.items()), np.int64).T
        score_V[ids] -= np.float32(params.presence_penalty)
        score_V[ids] -= np.float32(params.frequency_penalty) * times.astype(np.float32)
    for token_id, bias in params.logit_bias.items():
        score_V[token_id] += np.float32(bias)
    return score_V


def _truncated(weight_M: Float32, params: SamplingParams) -> Float32:
    """Set the weights dropped by top_k, top_p and min_p to 0; the largest weight is 1."""
    if params.top_k is not None and params.top_k < len(weight_M):
        places = np.argpartition(weight_M, -params.top_k)[-params.top_k :]
        weight_M = _keep_only(weight_M, places)
    if params.top_p < 1:
        order = np.argsort(-weight_M, kind="stable")
        cumulative = np.cumsum(weight_M[order], dtype=np.float64)
        enough = int(np.searchsorted(cumulative, params.top_p * cumulative[-1])) + 1
        weight_M = _keep_only(weight_M, order[:enough])
    if params.min_p > 0:
        weight_M = np.where(weight_M >= params.min_p, weight_M, np.float32(0))
    return weight_M


def _keep_only(weight_M: Float32, places: Int64) -> Float32:
    only_M = np.zeros_like(weight_M)
    only_M[places] = weight_M[places]
    return only_M


def _draw(weight_M: Float32, uniform: float) -> int:
    """Return the index where the cumulative sum passes `uniform` of the total."""
    cumulative = np.cumsum(weight_M, dtype=np.float64)
    place = int(np.searchsorted(cumulative, uniform * cumulative[-1], side="right"))
    # rounding may reach the total: then the last index with any weight
    return min(place, int(np.searchsorted(cumulative, cumulative[-1])))


def _top(logprob_M: Float32, count: int) -> list[int]:
    count = min(count, len(logprob_M))
    if count == 0:
        return []
    places = np.argpartition(logprob_M, -count)[-count:]
    best = places[np.argsort(-logprob_M[places], kind="stable")]
    return [int(place) for place in best if np.isfinite(logprob_M[place])]
