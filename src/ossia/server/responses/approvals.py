"""Finds the approval or denial of a waiting call: the input item `mcp_approval_response`.

Knows the items; the store knows which calls wait.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ossia.errors import RequestError
from ossia.server.responses.items import Item, kind_of, requested, required

RESPONSE = "mcp_approval_response"
MAX_REASON = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalResponse:
    """Approves or denies one call."""

    request_id: str
    allows: bool
    reason: str
    path: str
    """Path of the id in the request."""

    def refused(self) -> RequestError:
        """Create the error for an id without a waiting call."""
        return RequestError(
            f"{self.path} is {self.request_id!r:.80}, for which no call waits: it is "
            "unknown here, was answered already, or is too old; answer the last response's request",
            param=self.path,
        )


def find_approval(items: Sequence[Item], waiting_id: str | None) -> ApprovalResponse | None:
    """Find the approval or denial in an input; None if no call waits.

    An approval whose call has run (an `mcp_call` with its id is in the input) is history.

    Args:
        items: of the input.
        waiting_id: id of the request that ended the previous response; None: there is none.

    Raises:
        RequestError: a request without answer, an answer without request, or several.
    """
    past = {item.get("approval_request_id") for item in items if _is_call(item)} - {waiting_id}
    waiting = {waiting_id: "input"} if waiting_id else {}
    waiting |= {
        request_id: f"input[{at}]"
        for at, item in enumerate(items)
        if (request_id := requested(item)) and request_id not in past
    }
    answers = _answers(items, past)
    for answer in answers.values():
        if answer.request_id not in waiting:
            raise answer.refused()
    for request_id, path in waiting.items():
        if request_id not in answers:
            raise RequestError(
                f"the call of {request_id!r:.80} waits for approval or denial; send an "
                f"{RESPONSE} with its approval_request_id",
                param=path,
            )
    if len(answers) > 1:
        raise RequestError("several calls are decided on; one alone can wait", param="input")
    return next(iter(answers.values()), None)


def _answers(items: Sequence[Item], past: Collection[object]) -> dict[str, ApprovalResponse]:
    """Return the new answers by the id of their request."""
    answers: dict[str, ApprovalResponse] = {}
    for at, item in enumerate(items):
        if kind_of(item) != RESPONSE:
            continue
        path = f"input[{at}]"
        answer = _read(item, path)
        if answer.request_id in answers:
            raise RequestError(f"{path} is a second answer to one request; send one", param=path)
        if answer.request_id not in past:
            answers[answer.request_id] = answer
    return answers


def _is_call(item: Item) -> bool:
    return kind_of(item) == "mcp_call" and isinstance(item.get("approval_request_id"), str)


def _read(item: Item, path: str) -> ApprovalResponse:
    allows, reason = item.get("approve"), item.get("reason")
    if not isinstance(allows, bool):
        raise RequestError(
            f"{path}.approve is neither true nor false; write one of them", param=f"{path}.approve"
        )
    if not isinstance(reason, str | None) or len(reason or "") > MAX_REASON:
        raise RequestError(
            f"{path}.reason is not a text of at most {MAX_REASON} characters; shorten it",
            param=f"{path}.reason",
        )
    return ApprovalResponse(
        request_id=required(item, "approval_request_id", path),
        allows=allows,
        reason=reason or "",
        path=f"{path}.approval_request_id",
    )
