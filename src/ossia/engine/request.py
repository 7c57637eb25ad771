"""An engine request and its events, in token ids. Knows no text and no model.

Imports no numpy, so that the command line lists the sampling parameters quickly.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from types import MappingProxyType
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    NamedTuple,
    Protocol,
    TypeAlias,
    get_args,
    get_origin,
)

from ossia.errors import RequestError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FinishReason = Literal["stop", "length", "cancelled", "error"]

MAX_BIASED_TOKENS = 1024
MAX_STOPS = 16
MAX_STOP_CHARACTERS = 512
MAX_TOP_LOGPROBS = 20
MAX_INT32 = 2**31 - 1


def _param(default: Any, text: str, **bounds: float) -> Any:
    """Create a field of `SamplingParams`; `SamplingField` describes its metadata."""
    metadata = {"help": text, "bounds": MappingProxyType(bounds)}
    if callable(default):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingParams:
    """Sampling parameters of one request. The defaults are those recommended for gpt-oss.

    Applied in this order: repetition, presence and frequency penalty, logit_bias, constraint,
    temperature, then top_k, top_p and min_p. `SAMPLING_FIELDS` lists the parameters with their
    bounds and help; command-line options and request fields are generated from it.
    """

    temperature: float = _param(
        1.0,
        "Sampling temperature; 0 always takes the likeliest token.",
        ge=0.0,
        le=2.0,
    )
    top_p: float = _param(
        1.0,
        "Nucleus sampling: sample from the smallest set of tokens with this total probability.",
        gt=0.0,
        le=1.0,
    )
    top_k: int | None = _param(
        None,
        "Sample from this many of the likeliest tokens; by default from all.",
        ge=1,
        le=MAX_INT32,
    )
    min_p: float = _param(
        0.0, "Drop tokens less likely than this share of the likeliest one.", ge=0.0, le=1.0
    )
    presence_penalty: float = _param(
        0.0, "Subtracted once from the logit of each token of the answer so far.", ge=-2.0, le=2.0
    )
    frequency_penalty: float = _param(
        0.0,
        "Subtracted from a token's logit once for each time it is in the answer so far.",
        ge=-2.0,
        le=2.0,
    )
    repetition_penalty: float = _param(
        1.0,
        "Divides positive and multiplies negative logits of tokens in prompt and answer.",
        ge=0.01,
        le=100.0,
    )
    logit_bias: Mapping[int, float] = _param(
        dict, "Added to the logits of these token ids.", ge=-100.0, le=100.0
    )
    seed: int | None = _param(
        None,
        "Same seed, same answer; by default every answer is drawn anew.",
        ge=-(2**63),
        le=2**63 - 1,
    )
    max_tokens: int | None = _param(
        None,
        "Most tokens to write, reasoning included; by default as many as the context holds.",
        ge=1,
        le=MAX_INT32,
    )
    stop: Sequence[str] = _param(
        (), "End the answer before any of these texts; reasoning is not searched."
    )
    stop_token_ids: Sequence[int] = _param(
        (), "End after any of these token ids.", ge=0, le=MAX_INT32
    )
    logprobs: int | None = _param(
        None,
        "Report each token's log probability, and those of this many of the likeliest.",
        ge=0,
        le=MAX_TOP_LOGPROBS,
    )

    def __post_init__(self) -> None:
        """Validate; the sampler does not check again."""
        for each in SAMPLING_FIELDS.values():
            value = getattr(self, each.name)
            if each.shape == "value" and not (value is None and each.default is None):
                each.check(value)
        self._check_collections()

    def _check_collections(self) -> None:
        if len(self.logit_bias) > MAX_BIASED_TOKENS:
            raise RequestError(
                f"logit_bias names {len(self.logit_bias)} tokens; at most {MAX_BIASED_TOKENS}"
            )
        for token_id, bias in self.logit_bias.items():
            SAMPLING_FIELDS["stop_token_ids"].check(token_id, "a logit_bias key")
            SAMPLING_FIELDS["logit_bias"].check(bias, f"logit_bias of token {token_id}")
        if len(self.stop) > MAX_STOPS or len(self.stop_token_ids) > MAX_STOPS:
            raise RequestError(f"at most {MAX_STOPS} stop strings and {MAX_STOPS} stop_token_ids")
        if isinstance(self.stop, str) or not all(
            isinstance(stop, str) and 0 < len(stop) <= MAX_STOP_CHARACTERS for stop in self.stop
        ):
            raise RequestError(
                f"stop must be a list of strings of 1 to {MAX_STOP_CHARACTERS} characters"
            )
        for token_id in self.stop_token_ids:
            SAMPLING_FIELDS["stop_token_ids"].check(token_id, "a stop token id")


class SamplingField(NamedTuple):
    """Description of a sampling parameter, for command-line options and request fields."""

    name: str
    type: type
    """Type of each value: int, float or str."""
    shape: Literal["value", "list", "table"]
    """One value, a list of them, or a table of them by token id."""
    default: Any
    """None: no value, or an empty table."""
    help: str
    bounds: Mapping[str, float]
    """Bounds of each value: `ge` or `gt`, and `le`, as in pydantic's `Field`; none for text."""

    def check(self, value: Any, name: str | None = None) -> None:
        """Check type and bounds of a number; `name` appears in the message.

        Raises:
            RequestError: the value is invalid.
        """
        is_whole = self.type is int
        least, most = self.bounds.get("ge", self.bounds.get("gt", 0)), self.bounds["le"]
        # bool is an int; NaN fails every comparison
        kinds = int if is_whole else int | float
        is_number = isinstance(value, kinds) and not isinstance(value, bool)
        is_open = "gt" in self.bounds
        if is_number and least <= value <= most and not (is_open and value == least):
            return
        noun = "a whole number" if is_whole else "a number"
        low, high = (f"{each}" if is_whole else f"{each:g}" for each in (least, most))
        reach = f"above {low}, up to {high}" if is_open else f"from {low} to {high}"
        raise RequestError(f"{name or self.name} is {value!r}; it must be {noun} {reach}")


def _sampling_fields() -> dict[str, SamplingField]:
    shapes: dict[Any, Literal["list", "table"]] = {Sequence: "list", Mapping: "table"}
    found = {}
    for each in fields(SamplingParams):
        hint: Any = each.type
        kinds = [kind for kind in get_args(hint) or [hint] if kind is not type(None)]
        found[each.name] = SamplingField(
            name=each.name,
            type=kinds[-1],  # of `Mapping[int, float]`, the float
            shape=shapes.get(get_origin(hint), "value"),
            default=None if each.default is MISSING else each.default,
            **each.metadata,
        )
    return found


SAMPLING_FIELDS: Mapping[str, SamplingField] = MappingProxyType(_sampling_fields())
"""Every sampling parameter by name, in the order of `SamplingParams`."""


@dataclass(frozen=True, slots=True)
class SampledToken:
    """A sampled id, and its log probability if that was requested.

    Log probabilities are of the distribution sampled from, before top_k, top_p and min_p; at
    temperature 0 they are those of temperature 1.
    """

    token_id: int
    logprob: float = math.nan
    top: tuple[tuple[int, float], ...] = ()

    @property
    def is_scored(self) -> bool:
        """Whether it has a log probability: it was requested, and the token was not forced."""
        return not math.isnan(self.logprob)


@dataclass(frozen=True, slots=True)
class TokenEvent:
    """A new token of a request, or its end."""

    request_id: int
    sampled: SampledToken | None
    """None in the last event of a request that ended without another token."""
    forced: bool = False
    """Whether it was forced as the only allowed token; it then has no log probability."""
    finish_reason: FinishReason | None = None
    error: Exception | None = None
    cached_tokens: int = 0
    """Prompt tokens found in the prefix cache."""


Allowed: TypeAlias = "tuple[int, ...] | NDArray[np.bool_] | None"
"""Allowed ids: a few, a mask over the vocabulary, or None for all."""


def is_allowed(token_id: int, allowed: Allowed) -> bool:
    """Whether an id is allowed."""
    if allowed is None:
        return True
    return token_id in allowed if isinstance(allowed, tuple) else bool(allowed[token_id])


class Constraint(Protocol):
    """Constrains the output of one request. The engine calls it in order."""

    def allowed(self) -> Allowed:
        """Return the ids allowed next."""
        ...

    def accept(self, token_id: int) -> None:
        """Advance by one token, sampled or forced."""
        ...

    def forced(self, tokens_left: int) -> Sequence[int]:
        """Return the ids forced next; `tokens_left` remain to the length limit."""
        ...

    @property
    def finished(self) -> bool:
        """Whether the last token ended the request."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRequest:
    """Fields common to turns and raw completions, passed to the engine unchanged."""

    params: SamplingParams = field(default_factory=SamplingParams)


@dataclass(frozen=True, slots=True, eq=False)
class EngineRequest:
    """A prepared request."""

    prompt: list[int]
    """Token ids, at least one."""
    params: SamplingParams
    constraint: Constraint
    """Constrains the output; not shared between requests."""
    cache_points: Sequence[int] = ()
    """Lengths of the prompt at which its prefix is cached, since others may diverge there. The
    whole length always is."""
    cache_salt: str = ""
    """Whatever else its keys depend on; only requests with equal salt share prefixes."""


@dataclass(slots=True)
class Unconstrained:
    """A constraint without grammar: any token, or any of a mask; ends at one of `stop_ids`."""

    stop_ids: frozenset[int] = frozenset()
    mask: "NDArray[np.bool_] | None" = None
    finished: bool = False

    def allowed(self) -> "NDArray[np.bool_] | None":
        return self.mask

    def accept(self, token_id: int) -> None:
        self.finished = token_id in self.stop_ids

    def forced(self, tokens_left: int) -> Sequence[int]:
        return ()
