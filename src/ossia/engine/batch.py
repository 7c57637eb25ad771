"""Turns -> one step of the model: the only place where the engine's lists become arrays."""

from collections.abc import Mapping, Sequence

from ossia.engine.scheduler import Turn
from ossia.model.kv_cache import KvCache
from ossia.model.step import Slice, Step


def build_step(
    turns: Sequence[Turn],
    tokens: Mapping[int, Sequence[int]],
    cache: KvCache,  # type: ignore[type-arg]  # any backend's
    *,
    window: int,
) -> Step:
    """Lay the turns end to end; the last token of each that samples gets a row of logits.

    Args:
        turns: from the scheduler.
        tokens: prompt and answer so far of each request, by id.
        cache: tells which pages a ring is made of.
        window: keys a windowed layer may look at.
    """
    slices = [
        Slice(
            ids=tokens[turn.request_id][turn.past : turn.past + turn.count],
            past=turn.past,
            pages=turn.pages,
            ring=cache.ring(turn.ring),
        )
        for turn in turns
    ]
    rows, end = [], 0
    for turn in turns:
        end += turn.count
        if turn.samples:
            rows.append(end - 1)
    return Step.of(slices, rows, window=window)
