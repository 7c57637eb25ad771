"""Builds the history of a new turn: stored responses, the input, exact token ids.

Uses the store and `ExactTokens`; knows neither the engine nor the Response object.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from ossia.chat.request import ApprovalDecision
from ossia.errors import RequestError
from ossia.harmony.messages import Message
from ossia.server.api.errors import NotFound
from ossia.server.api.fields import day
from ossia.server.api.history import HistoryMessage
from ossia.server.api.json_body import in_thread_if_large
from ossia.server.responses.approvals import ApprovalResponse, find_approval
from ossia.server.responses.items import (
    INPUT_ITEMS,
    TOOL_ITEMS,
    Item,
    References,
    action_of,
    kind_of,
    lost_calls,
    read_items,
    references,
)
from ossia.server.responses.objects import Json, new_id
from ossia.server.responses.request import CreateRequest
from ossia.server.responses.stored_turn import PreviousTurns, StoredTurn
from ossia.server.services import Services
from ossia.store.schema import RUNNING


@dataclass(frozen=True, slots=True, kw_only=True)
class InputHistory:
    """The history of a turn."""

    messages: tuple[Message, ...]
    """All messages, stored responses first."""
    turn: StoredTurn
    """The new part, as it will be stored."""
    ignored: tuple[str, ...]
    """Paths of ignored items."""
    root: str | None = None
    """Id of the conversation's first response, if any."""
    approval: "Approval | None" = None
    """Decision on the call that the turn starts with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """A waiting call and the decision on it."""

    answer: ApprovalResponse
    call: HistoryMessage
    session: str
    """Session key of its conversation."""

    @property
    def request_of_call(self) -> dict[str, str]:
        """Return the approval request's id by the call's id."""
        return {self.call.call_id or "": self.answer.request_id}

    @property
    def decision(self) -> ApprovalDecision:
        """Return the decision for the turn."""
        return ApprovalDecision(
            call=self.call.message,
            call_id=self.call.call_id or "",
            allows=self.answer.allows,
            reason=self.answer.reason,
        )


async def gather_history(
    services: Services, owner: str, form: CreateRequest, *, is_heavy: bool
) -> InputHistory:
    """Build the history.

    Args:
        services: the server's services.
        owner: the caller.
        form: the request.
        is_heavy: whether the request is so large that it must be parsed in a thread.

    Raises:
        RequestError: an item is invalid, or the previous response is still running.
        NotFound: there is no such response, or no such item.
        StoreError: the store cannot be read.
    """
    model = services.provider.model.fingerprint
    past = PreviousTurns()
    if form.previous_response_id is not None:
        past = await _past(services, owner, form.previous_response_id, model)
    items: Sequence[Item] = form.input if isinstance(form.input, list) else _one(form.input)
    memory = services.memory
    approval = await _approval(services, owner, find_approval(items, past.approval_request_id))
    waiting = None if approval is None else approval.call
    before = References(
        recipients=past.recipients,
        calls=await memory.calls(owner, _unknown(lost_calls(items), past)),
        items=await memory.items(owner, references(items)),
        waiting=waiting,
    )
    parsed = await in_thread_if_large(is_heavy, read_items, items, before)
    messages = await memory.restored(owner, parsed.history)
    if waiting is not None and waiting in parsed.history:  # the turn adds it after the decision
        messages = _without_last(messages, waiting.message)
    turn = StoredTurn(
        model=model,
        date=past.date or day(services.clock()),
        input_items=list_items(items, new_id),
        input_messages=messages,
        calls=calls_of(one for one in parsed.history if one != waiting),
    )
    return InputHistory(
        messages=(*past.messages, *messages),
        turn=turn,
        ignored=parsed.ignored,
        root=past.root,
        approval=approval,
    )


async def _approval(
    services: Services, owner: str, answer: ApprovalResponse | None
) -> Approval | None:
    """Return the waiting call and its decision."""
    if answer is None:
        return None
    found = await services.memory.waiting(owner, answer.request_id)
    if found is None:
        raise answer.refused()
    call, session = found
    return Approval(answer=answer, call=call, session=session)


def _without_last(messages: Sequence[Message], call: Message) -> tuple[Message, ...]:
    at = max(at for at, message in enumerate(messages) if message == call)
    return (*messages[:at], *messages[at + 1 :])


def calls_of(history: Iterable[HistoryMessage]) -> dict[str, str]:
    """Return each call's recipient by call id."""
    return {
        one.call_id: one.message.recipient
        for one in history
        if one.call_id and one.message.role == "assistant" and one.message.recipient
    }


def _one(text: str | None) -> list[Json]:
    return [] if text is None else [{"type": "message", "role": "user", "content": text}]


def _unknown(call_ids: Sequence[str], past: PreviousTurns) -> list[str]:
    return [call_id for call_id in call_ids if call_id not in past.recipients]


async def _past(services: Services, owner: str, response_id: str, model: str) -> PreviousTurns:
    """Load the previous response and all before it."""
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


def list_items(items: Sequence[Item], new_id: Callable[[str], str]) -> list[Json]:
    """Return the parsed items as `GET input_items` lists them.

    Args:
        items: of the input, in order; ignored ones and references are omitted.
        new_id: creates an id from a prefix, for items without one.
    """
    return [
        _listed_item(item, kind, prefix, new_id)
        for item in items
        if (kind := kind_of(item)) in INPUT_ITEMS and (prefix := INPUT_ITEMS[kind].prefix)
    ]


def page(
    items: Sequence[Json], *, limit: int, order: Literal["asc", "desc"], after: str | None
) -> Json:
    """Return one page of a list in OpenAI's form.

    Raises:
        RequestError: `after` is none of the items.
    """
    ordered = list(items) if order == "asc" else list(reversed(items))
    begin = 0
    if after is not None:
        places = [at for at, item in enumerate(ordered) if item["id"] == after]
        if not places:
            raise RequestError(
                f"after is {after!r:.80}, which is not in this list; use the last_id of a page",
                param="after",
            )
        begin = places[0] + 1
    shown = ordered[begin : begin + limit]
    return {
        "object": "list",
        "data": shown,
        "first_id": shown[0]["id"] if shown else "",
        "last_id": shown[-1]["id"] if shown else "",
        "has_more": begin + limit < len(ordered),
    }


def _listed_item(item: Item, kind: str, prefix: str, new_id: Callable[[str], str]) -> Json:
    item_id = item.get("id")
    listed: Json = {
        "id": item_id if isinstance(item_id, str) and item_id else new_id(prefix),
        "type": kind,
    }
    if kind == "message":
        return listed | _message(item)
    if kind == "reasoning":
        content = item.get("content")
        text = [{"text": content}] if isinstance(content, str) else content
        listed |= {"summary": []} if content is None else {"summary": [], "content": text}
    elif kind == "mcp_approval_request":
        return listed | {
            key: value if isinstance(value := item.get(key), str) else ""
            for key in INPUT_ITEMS[kind].fields
        }
    elif kind != "mcp_approval_response":
        listed["status"] = "completed"
    if kind in TOOL_ITEMS:
        return listed | _ran(item, kind)
    listed |= {key: item[key] for key in INPUT_ITEMS[kind].fields if item.get(key) is not None}
    for key, part in (("content", "reasoning_text"), ("output", "input_text")):
        if isinstance(listed.get(key), list):
            listed[key] = [_part(each, part) for each in listed[key]]
    return listed


def _ran(item: Item, kind: str) -> Json:
    """Add the fields that clients require of a built-in tool's call."""
    if kind == "web_search_call":
        return {"action": action_of(item["action"])}
    listed = {"container_id": "", "outputs": None} if kind == "code_interpreter_call" else {}
    return listed | {
        key: item[key] for key in INPUT_ITEMS[kind].fields if isinstance(item.get(key), str)
    }


def _message(item: Item) -> Json:
    role = item["role"]
    listed: Json = {"role": role, "status": "completed"}
    content = item["content"]
    if isinstance(content, str):
        content = [{"text": content}]
    if role == "assistant":
        phase = item.get("phase")
        spoken = {"phase": phase} if phase in ("commentary", "final_answer") else {}
        return {**listed, **spoken, "content": [_spoken(part) for part in content]}
    return {**listed, "content": [_part(part, "input_text") for part in content]}


def _spoken(part: Mapping[str, Any]) -> Json:
    if part.get("type") == "refusal":
        return {"type": "refusal", "refusal": part["refusal"]}
    return {**_part(part, "output_text"), "annotations": []}


def _part(part: Mapping[str, Any], kind: str) -> Json:
    return {"type": kind, "text": part["refusal" if part.get("type") == "refusal" else "text"]}
