"""What the operator chooses about the engine, and the plan that follows for one model."""

from dataclasses import dataclass
from typing import NamedTuple

from ossia.checkpoint.config import ModelConfig
from ossia.errors import RequestError
from ossia.ops.select import OpsOptions

MAX_CACHED_PREFIXES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """Options of the operator; None: what suits the model."""

    context_length: int | None = None
    """Most tokens of one request, prompt and answer; by default the model's longest."""
    max_running: int = 8
    """Requests in one step: enough to share each weight read, few enough to answer soon."""
    max_batch_tokens: int = 512
    """Tokens in one step; a longer prompt is read in chunks, and while others write, in chunks of
    an eighth. Long enough that each expert of 20b gets some 64 tokens for each read of its
    weights. A step is never broken off, so this is also how long stopping takes at worst."""
    pool_tokens: int | None = None
    """Tokens whose keys fit in the KV cache, of all requests and cached prefixes together; by
    default one whole context."""
    max_cached_prefixes: int = 16
    """Prefixes in the prefix cache, for the next text that begins alike: a copy of every window
    each, 4.7 MB of 20b in bfloat16, beside blocks that running requests do not need. 0: none."""
    speculate: bool = True
    """Speculative decoding: draft what repeats itself and decode several tokens in a step, where
    that is measured to be faster; what is written does not depend on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """Which model to load, and how: the arguments of `LLM`, which see."""

    model: str
    backend: str = "auto"
    ops: OpsOptions = OpsOptions()
    engine: EngineOptions = EngineOptions()
    prepared: str | None = "auto"


class EnginePlan(NamedTuple):
    """`EngineOptions` resolved for one model: nothing is left open."""

    context_length: int
    max_running: int
    max_batch_tokens: int
    max_cached_prefixes: int
    speculate: bool
    num_blocks: int


def resolve(options: EngineOptions, config: ModelConfig, block_size: int) -> EnginePlan:
    """Fill in what the operator left open.

    Raises:
        RequestError: a size that the model or the cache cannot have.
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
