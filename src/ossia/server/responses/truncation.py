"""Starts a turn; with `truncation: auto`, drops the oldest turns that do not fit.

Counts no tokens itself: the engine refuses what does not fit.
"""

from collections.abc import Callable, Sequence
from itertools import accumulate, takewhile

from ossia.chat.request import TurnRequest
from ossia.errors import CONTEXT_OVERFLOW, RequestError
from ossia.harmony.messages import Message
from ossia.providers.provider import EventStream, TurnWriter


async def start_turn(
    engine: TurnWriter,
    turn: Callable[[Sequence[Message]], TurnRequest],
    messages: Sequence[Message],
    *,
    truncates: bool,
) -> EventStream:
    """Start a turn with as much of its history as fits.

    Args:
        engine: runs the turn, or refuses what does not fit.
        turn: creates the request from a history.
        messages: the whole history.
        truncates: whether the oldest turns may be dropped.

    Raises:
        RequestError: the request is invalid, or does not fit.
        ProviderBusy: the queue is full.
        ProviderUnavailable: the engine is not running.
    """
    try:
        return await engine.start(turn(messages))
    except RequestError as error:
        if not truncates or error.code != CONTEXT_OVERFLOW:
            raise
        refusal = error
    stream = await _shortest_cut(engine, turn, messages)
    if stream is None:
        raise refusal
    return stream


async def _shortest_cut(
    engine: TurnWriter,
    turn: Callable[[Sequence[Message]], TurnRequest],
    messages: Sequence[Message],
) -> EventStream | None:
    """Start the turn with the fewest turns dropped, by bisection; None if it never fits."""
    places = cuts(messages)
    found: EventStream | None = None
    least, most = 0, len(places) - 1
    while least <= most:
        middle = (least + most) // 2
        try:
            stream = await engine.start(turn(without(messages, places[middle])))
        except BaseException as error:
            if isinstance(error, RequestError) and error.code == CONTEXT_OVERFLOW:
                least = middle + 1
                continue
            if found is not None:
                found.close()
            raise
        if found is not None:
            found.close()
        found, most = stream, middle - 1
    return found


def cuts(messages: Sequence[Message]) -> list[int]:
    """Return the positions to cut at: each later turn, up to the last user message.

    A call and its result are dropped together or not at all.
    """
    whole = _is_whole_from(messages)
    num_leading = sum(1 for _ in takewhile(lambda one: one.role == "developer", messages))
    return [
        at
        for at, message in enumerate(messages)
        if message.role == "user" and whole[at] and at > num_leading
    ]


def without(messages: Sequence[Message], begin: int) -> tuple[Message, ...]:
    """Return the history from a position on, preceded by developer messages alone."""
    instructions = [one for one in messages[:begin] if one.role == "developer"]
    return (*instructions, *messages[begin:])


def _is_whole_from(messages: Sequence[Message]) -> list[bool]:
    """For each position, whether no call before it has its result after it."""
    waiting: dict[str, list[int]] = {}
    opened = [0] * (len(messages) + 1)
    for at, message in enumerate(messages):
        if message.role == "assistant" and message.recipient:
            waiting.setdefault(message.recipient, []).append(at)
        elif message.role == "tool" and (calls := waiting.get(message.name or "")):
            opened[calls.pop() + 1] += 1
            opened[at + 1] -= 1
    return [depth == 0 for depth in accumulate(opened)]
