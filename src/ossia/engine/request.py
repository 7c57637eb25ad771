"""What one request asks for and what comes back of it, in token ids. Knows no text and no model."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ossia.errors import RequestError

FinishReason = Literal["stop", "length", "cancelled", "error"]

MAX_BIASED_TOKENS = 1024
MAX_STOPS = 16
MAX_STOP_CHARACTERS = 512
MAX_TOP_LOGPROBS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingParams:
    """How the tokens of one request are chosen. The defaults are those advised for gpt-oss.

    Applied in this order: repetition, presence and frequency penalty, logit_bias, what is legal
    here, temperature, then top_k, top_p and min_p.
    """

    temperature: float = 1.0
    """0 takes the likeliest token, as does all below 0.00001; from 0 to 2."""
    top_p: float = 1.0
    """Sample from the fewest tokens that together have this probability."""
    top_k: int | None = None
    """Sample from this many likeliest tokens."""
    min_p: float = 0.0
    """Drop tokens less likely than this share of the likeliest one."""
    presence_penalty: float = 0.0
    """Taken once from the score of each token written so far in this answer; -2 to 2."""
    frequency_penalty: float = 0.0
    """Taken from that score once for each time it was written; -2 to 2."""
    repetition_penalty: float = 1.0
    """Divides positive and multiplies negative scores of tokens in prompt and answer."""
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    """Added to the score of these ids; -100 to 100."""
    seed: int | None = None
    """Same seed, same answer; without one, every answer is drawn anew."""
    max_tokens: int | None = None
    """Most tokens to write, reasoning included; without one, as many as the context holds."""
    stop: Sequence[str] = ()
    """End the answer before any of these appears in it; reasoning is not searched."""
    stop_token_ids: Sequence[int] = ()
    """End after any of these ids."""
    logprobs: int | None = None
    """Report each token's log probability, and those of this many likeliest ones; 0 to 20."""

    def __post_init__(self) -> None:
        """Refuse what no sampler could honour; the sampler never checks again."""
        _within("temperature", self.temperature, 0.0, 2.0)
        _within("top_p", self.top_p, 0.0, 1.0)
        _within("min_p", self.min_p, 0.0, 1.0)
        _within("presence_penalty", self.presence_penalty, -2.0, 2.0)
        _within("frequency_penalty", self.frequency_penalty, -2.0, 2.0)
        _within("repetition_penalty", self.repetition_penalty, 0.01, 100.0)
        for name, value, least, most in (
            ("top_k", self.top_k, 1, 2**31 - 1),
            ("max_tokens", self.max_tokens, 1, 2**31 - 1),
            ("logprobs", self.logprobs, 0, MAX_TOP_LOGPROBS),
            ("seed", self.seed, -(2**63), 2**63 - 1),
        ):
            if value is not None:
                _whole(name, value, least, most)
        if self.top_p == 0:
            raise RequestError("top_p is 0; it must be above 0, up to 1")
        self._check_lists()

    def _check_lists(self) -> None:
        if len(self.logit_bias) > MAX_BIASED_TOKENS:
            raise RequestError(
                f"logit_bias names {len(self.logit_bias)} tokens; at most {MAX_BIASED_TOKENS}"
            )
        for token_id, bias in self.logit_bias.items():
            _whole("a logit_bias key", token_id, 0, 2**31 - 1)
            _within(f"logit_bias of token {token_id}", bias, -100.0, 100.0)
        if len(self.stop) > MAX_STOPS or len(self.stop_token_ids) > MAX_STOPS:
            raise RequestError(f"at most {MAX_STOPS} stop strings and {MAX_STOPS} stop_token_ids")
        if isinstance(self.stop, str) or not all(
            isinstance(stop, str) and 0 < len(stop) <= MAX_STOP_CHARACTERS for stop in self.stop
        ):
            raise RequestError(
                f"stop must be a list of strings of 1 to {MAX_STOP_CHARACTERS} characters"
            )
        for token_id in self.stop_token_ids:
            _whole("a stop token id", token_id, 0, 2**31 - 1)


def _within(name: str, value: float, least: float, most: float) -> None:
    # bool is an int; NaN fails every comparison
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise RequestError(f"{name} is {value!r}; it must be a number from {least:g} to {most:g}")


def _whole(name: str, value: int, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise RequestError(f"{name} is {value!r}; it must be a whole number from {least} to {most}")


@dataclass(frozen=True, slots=True)
class SampledToken:
    """A sampled id, and what was asked about its probability.

    Log probabilities are of the distribution sampled from, before top_k, top_p and min_p; at
    temperature 0 they are those of temperature 1.
    """

    token_id: int
    logprob: float = math.nan
    top: tuple[tuple[int, float], ...] = ()

    @property
    def is_scored(self) -> bool:
        """Whether its probability was asked for; a forced token has none."""
        return not math.isnan(self.logprob)


@dataclass(frozen=True, slots=True)
class TokenEvent:
    """One more token of a request, or its end."""

    request_id: int
    sampled: SampledToken | None
    """None in the last event of a request that ended without one more token."""
    forced: bool = False
    """The only legal token, put without sampling: it has no log probability."""
    finish_reason: FinishReason | None = None
    error: Exception | None = None
    cached_tokens: int = 0
    """Tokens of the prompt that were not read again: a text that began alike was at hand."""


Allowed: TypeAlias = tuple[int, ...] | NDArray[np.bool_] | None
"""Ids that may come: a few, or a mask over the vocabulary, or None for any."""


def may_come(token_id: int, allowed: Allowed) -> bool:
    """Whether an id is one of those."""
    if allowed is None:
        return True
    return token_id in allowed if isinstance(allowed, tuple) else bool(allowed[token_id])


class Guide(Protocol):
    """What a request may write next. One object a request; the engine calls it in order."""

    def allowed(self) -> Allowed:
        """Ids that may come next."""
        ...

    def accept(self, token_id: int) -> None:
        """Go on by one token, sampled or forced."""
        ...

    def forced(self, tokens_left: int) -> Sequence[int]:
        """Ids that must come next, when there is no choice; `tokens_left` to the length limit."""
        ...

    @property
    def finished(self) -> bool:
        """Whether the last token ended the request."""
        ...


@dataclass(slots=True)
class Unguided:
    """Any token may come, or any of a mask; the request ends at one of `stop_ids`."""

    stop_ids: frozenset[int] = frozenset()
    mask: NDArray[np.bool_] | None = None
    finished: bool = False

    def allowed(self) -> NDArray[np.bool_] | None:
        """See `Guide.allowed`."""
        return self.mask

    def accept(self, token_id: int) -> None:
        """See `Guide.accept`."""
        self.finished = token_id in self.stop_ids

    def forced(self, tokens_left: int) -> Sequence[int]:
        """See `Guide.forced`."""
        return ()
