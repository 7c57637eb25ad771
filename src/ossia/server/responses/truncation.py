"""Begins a turn, and where `truncation` is `auto` leaves out the oldest turns that do not fit.

It knows messages and the engine's answer to them; it counts no token itself.
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
    """Begin a turn with as much of its history as fits.

    Args:
        engine: who writes it, and says whether it fits.
        turn: makes the request of a history.
        messages: the whole history.
        truncates: whether oldest turns may be left out; else what does not fit is refused.

    Raises:
        RequestError: it has no meaning, or does not fit even so.
        ProviderBusy: too many wait already.
        ProviderUnavailable: there is no engine now.
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
    """Begin the turn with the fewest turns left out, by halves; None if it never fits."""
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
    """Where a history may begin instead: at each later turn, up to the last user message.

    A call and its result are left out together or not at all.
    """
    whole = _is_whole_from(messages)
    num_leading = sum(1 for _ in takewhile(lambda one: one.role == "developer", messages))
    return [
        at
        for at, message in enumerate(messages)
        if message.role == "user" and whole[at] and at > num_leading
    ]


def without(messages: Sequence[Message], begin: int) -> tuple[Message, ...]:
    """The history from this place on, and before it only what a developer said."""
    instructions = [one for one in messages[:begin] if one.role == "developer"]
    return (*instructions, *messages[begin:])


def _is_whole_from(messages: Sequence[Message]) -> list[bool]:
    """For each place, whether no call stands before it whose result does not."""
    waiting: dict[str, list[int]] = {}
    opened = [0] * (len(messages) + 1)
    for at, message in enumerate(messages):
        if message.role == "assistant" and message.recipient:
            waiting.setdefault(message.recipient, []).append(at)
        elif message.role == "tool" and (calls := waiting.get(message.name or "")):
            opened[calls.pop() + 1] += 1
            opened[at + 1] -= 1
    return [depth == 0 for depth in accumulate(opened)]
