"""The operator's engine options, and the plan they resolve to for one model."""

from dataclasses import dataclass
from typing import NamedTuple

from ossia.checkpoint.config import ModelConfig
from ossia.errors import RequestError
from ossia.ops.select import OpsOptions

MAX_CACHED_PREFIXES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """Engine options; None: chosen for the model."""

    context_length: int | None = None
    """Limit of tokens of one request, prompt and answer; by default the model's maximum."""
    max_running: int = 8
    """Requests in one step: enough to share reads of the weights, few enough for low latency."""
    max_batch_tokens: int = 512
    """Tokens in one step; longer prompts are prefilled in chunks, of an eighth while others decode.
    512 gives each expert of 20b some 64 tokens per read of its weights. A step cannot be
    interrupted, so this also bounds the time to cancel."""
    pool_tokens: int | None = None
    """Capacity of the KV cache in tokens, for all requests and cached prefixes; by default one
    whole context."""
    max_cached_prefixes: int = 16
    """Prefixes in the prefix cache. Each takes a copy of every window (4.7 MB for 20b in bfloat16)
    and blocks that running requests do not need. 0: none."""
    speculate: bool = True
    """Speculative decoding by n-gram lookup, where it is measured to be faster; the output does
    not depend on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """Which model to load, and how; see `LLM`."""

    model: str
    backend: str = "auto"
    ops: OpsOptions = OpsOptions()
    engine: EngineOptions = EngineOptions()
    prepared: str | None = "auto"


class EnginePlan(NamedTuple):
    """`EngineOptions` resolved for one model."""

    context_length: int
    max_running: int
    max_batch_tokens: int
    max_cached_prefixes: int
    speculate: bool
    num_blocks: int


def resolve(options: EngineOptions, config: ModelConfig, block_size: int) -> EnginePlan:
    """Resolve every option for a model.

    Raises:
        RequestError: a size is out of range for the model or the cache.
    """
    longest = config.max_position_embeddings
    context = longest if options.context_length is None else options.context_length
    if not 1 <= context <= longest:
        raise RequestError(f"context length is {context}; this model takes 1 to {longest} tokens")
    pool = context if options.pool_tokens is None else options.pool_tokens
    if pool < context:
        raise RequestError(
            f"the cache holds {pool} tokens, fewer than one context of {context}; "
            "raise the pool or shorten the context"
        )
    if not 1 <= options.max_running <= options.max_batch_tokens:
        raise RequestError(
            f"{options.max_running} running requests in steps of {options.max_batch_tokens} "
            "tokens; expected at least one request, and a token for each in a step"
        )
    if not 0 <= options.max_cached_prefixes <= MAX_CACHED_PREFIXES:
        raise RequestError(
            f"{options.max_cached_prefixes} cached prefixes; expected 0 to {MAX_CACHED_PREFIXES}"
        )
    return EnginePlan(
        context_length=context,
        max_running=options.max_running,
        max_batch_tokens=options.max_batch_tokens,
        max_cached_prefixes=options.max_cached_prefixes,
        speculate=options.speculate,
        num_blocks=-(-pool // block_size),
    )
