"""Turns -> one step of the model: the only place where the engine's lists become arrays."""

from collections.abc import Mapping, Sequence

from ossia.engine.scheduler import Turn
from ossia.model.forward_batch import ForwardBatch, SequenceSlice
from ossia.model.kv_cache import KvCache


def build_step(
    turns: Sequence[Turn],
    tokens: Mapping[int, Sequence[int]],
    guesses: Mapping[int, Sequence[int]],
    cache: KvCache,  # type: ignore[type-arg]  # any backend's
    *,
    window: int,
) -> ForwardBatch:
    """Lay the turns end to end; each that samples gets a row of logits, and one for each guess.

    Args:
        turns: from the scheduler.
        tokens: prompt and answer so far of each request, by id.
        guesses: what may come next of some requests, by id; at least as many as their turns run.
        cache: tells which pages a ring is made of.
        window: keys a windowed layer may look at.
    """
    slices: list[SequenceSlice] = []
    rows: list[int] = []
    end = 0
    for turn in turns:
        known = turn.count - turn.guesses
        ids = list(tokens[turn.request_id][turn.past : turn.past + known])
        if turn.guesses:
            ids += guesses[turn.request_id][: turn.guesses]
        slices.append(
            SequenceSlice(
                ids=ids,
                past=turn.past,
                pages=turn.pages,
                window_pages=cache.window_pages(turn.ring),
            )
        )
        end += turn.count
        if turn.samples:
            rows.extend(range(end - turn.guesses - 1, end))
    return ForwardBatch.from_slices(slices, rows, window=window)
