"""Gathers all that was said up to a new turn: stored responses, the input, what was remembered.

It asks the store and the memory; it knows neither the engine nor the wire's answer.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ossia.chat.request import ApprovalDecision
from ossia.errors import RequestError
from ossia.harmony.messages import Message
from ossia.server.api.errors import NotFound
from ossia.server.api.fields import day
from ossia.server.api.history import HistoryMessage
from ossia.server.api.json_body import beside
from ossia.server.responses.approvals import ApprovalResponse, find_approval
from ossia.server.responses.items import Item, References, lost_calls, read_items, references
from ossia.server.responses.listing import listed
from ossia.server.responses.objects import Json, new_id
from ossia.server.responses.request import CreateRequest
from ossia.server.responses.stored_turn import PreviousTurns, StoredTurn
from ossia.server.services import Services
from ossia.store.schema import RUNNING


@dataclass(frozen=True, slots=True, kw_only=True)
class InputHistory:
    """What a turn answers to."""

    messages: tuple[Message, ...]
    """All of it, the stored responses first."""
    turn: StoredTurn
    """The new part of it, as it will be stored."""
    ignored: tuple[str, ...]
    """Paths of the items that were skipped."""
    root: str | None = None
    """Id of the conversation's first response, if there was one."""
    approval: "Approval | None" = None
    """Of the call that the turn begins with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """A call that waited, and what was said of it."""

    answer: ApprovalResponse
    call: HistoryMessage
    session: str
    """Of the conversation in which it was written."""

    @property
    def told(self) -> dict[str, str]:
        """The item that asked, by the call's id."""
        return {self.call.call_id or "": self.answer.request_id}

    @property
    def decision(self) -> ApprovalDecision:
        """What the turn is told."""
        return ApprovalDecision(
            call=self.call.message,
            call_id=self.call.call_id or "",
            allows=self.answer.allows,
            reason=self.answer.reason,
        )


async def gather_history(
    services: Services, owner: str, form: CreateRequest, *, is_heavy: bool
) -> InputHistory:
    """Gather what was said.

    Args:
        services: what there is.
        owner: who asks.
        form: the request.
        is_heavy: whether it is so large that reading it would hold up the streams of others.

    Raises:
        RequestError: an item has no meaning, or the response to go on from is still running.
        NotFound: there is no such response, or no such item.
        StoreError: the store cannot be read.
    """
    model = services.engine.model.fingerprint
    past = PreviousTurns()
    if form.previous_response_id is not None:
        past = await _past(services, owner, form.previous_response_id, model)
    items: Sequence[Item] = form.input if isinstance(form.input, list) else _one(form.input)
    memory = services.memory
    approval = await _approval(services, owner, find_approval(items, past.asked))
    waiting = None if approval is None else approval.call
    before = References(
        recipients=past.recipients,
        calls=await memory.calls(owner, _unknown(lost_calls(items), past)),
        items=await memory.items(owner, references(items)),
        waiting=waiting,
    )
    spoken = await beside(is_heavy, read_items, items, before)
    said = await memory.restored(owner, spoken.said)
    if waiting is not None and waiting in spoken.said:  # the turn says it, when it is decided on
        said = _without_last(said, waiting.message)
    turn = StoredTurn(
        model=model,
        date=past.date or day(services.clock()),
        listed=listed(items, new_id),
        said=said,
        calls=calls_of(one for one in spoken.said if one != waiting),
    )
    return InputHistory(
        messages=(*past.messages, *said),
        turn=turn,
        ignored=spoken.ignored,
        root=past.root,
        approval=approval,
    )


async def _approval(
    services: Services, owner: str, answer: ApprovalResponse | None
) -> Approval | None:
    """The call that is decided on, as it was written."""
    if answer is None:
        return None
    found = await services.memory.waiting(owner, answer.request_id)
    if found is None:
        raise answer.refused()
    call, session = found
    return Approval(answer=answer, call=call, session=session)


def _without_last(said: Sequence[Message], call: Message) -> tuple[Message, ...]:
    at = max(at for at, message in enumerate(said) if message == call)
    return (*said[:at], *said[at + 1 :])


def calls_of(said: Iterable[HistoryMessage]) -> dict[str, str]:
    """Whom each call goes to, by its id."""
    return {
        one.call_id: one.message.recipient
        for one in said
        if one.call_id and one.message.role == "assistant" and one.message.recipient
    }


def _one(text: str | None) -> list[Json]:
    return [] if text is None else [{"type": "message", "role": "user", "content": text}]


def _unknown(call_ids: Sequence[str], past: PreviousTurns) -> list[str]:
    return [call_id for call_id in call_ids if call_id not in past.recipients]


async def _past(services: Services, owner: str, response_id: str, model: str) -> PreviousTurns:
    """The response to go on from, and all before it."""
    chain = await asyncio.wrap_future(services.responses.chain(response_id, owner))
    if not chain.responses or chain.lost is not None:
        missing = chain.lost or response_id
        raise NotFound(
            f"there is no response {missing!r:.80} to go on from (deleted, expired, or too far "
            "back); send the whole conversation as input",
            "previous_response_not_found",
            "previous_response_id",
        )
    if chain.responses[-1].status in RUNNING:
        raise RequestError(
            f"the response {response_id!r:.80} is still being written; wait for its end",
            param="previous_response_id",
        )
    turns = [response.turn for response in chain.responses]
    past = await asyncio.to_thread(PreviousTurns.of, turns, model)
    return replace(past, root=chain.responses[0].response_id)
