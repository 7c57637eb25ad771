"""A client's history: harmony messages, each with the ids that identify it.

Knows no wire format and no store; both APIs translate their input into this.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ossia.chat.events import Event, PartFinished, PartStarted, ToolFinished, result_message
from ossia.harmony.messages import FUNCTIONS, Message


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryMessage:
    """One message of a history."""

    message: Message
    item_id: str | None = None
    """Id of its item in the Responses API."""
    call_id: str | None = None
    """Id of a call, or of the call that a tool's result answers."""
    encrypted_content: str | None = None
    """Signed reference to reasoning; the message's text may then be empty."""
    shown_text: str | None = None
    """The text sent to the client if it differs: citation marks became links."""
    result: Message | None = None
    """Result of a call that ran on the server; it follows the message."""

    @property
    def is_call(self) -> bool:
        """Whether the message is a tool call."""
        return self.message.role == "assistant" and self.message.recipient is not None

    @property
    def messages(self) -> tuple[Message, ...]:
        """Return the message and, after a call that ran on the server, its result."""
        return (self.message,) if self.result is None else (self.message, self.result)


def with_result(call: HistoryMessage, ran: ToolFinished) -> HistoryMessage:
    """Add the result of a built-in tool's call; clients identify it by its item alone."""
    return replace(call, result=result_message(ran, call.message), call_id=None)


class TurnRecorder:
    """Records the messages of one turn from its events, to match them in later requests.

    Attributes:
        messages: the finished messages, without calls that were cut off.
    """

    def __init__(self) -> None:
        self.messages: list[HistoryMessage] = []
        self._call_id: str | None = None

    def push(self, event: Event, written: HistoryMessage | None = None) -> None:
        """Record the next event.

        Args:
            event: of the turn.
            written: the finished message with its API ids; None: it has none but a call's id.
        """
        match event:
            case PartStarted():
                self._call_id = event.call_id or None
            case PartFinished() if event.is_whole or self._call_id is None:
                ended = written or HistoryMessage(message=event.message)
                self.messages.append(replace(ended, call_id=self._call_id))
            case ToolFinished():
                self.messages[-1] = with_result(self.messages[-1], event)
            case _:
                pass


def without_broken_off(entries: Iterable[HistoryMessage]) -> list[HistoryMessage]:
    """Drop calls of built-in tools that never ran: a turn cannot continue from them."""
    return [one for one in entries if not one.is_call or one.result is not None or _is_theirs(one)]


def _is_theirs(call: HistoryMessage) -> bool:
    return (call.message.recipient or "").startswith(f"{FUNCTIONS}.")


def paired(entries: Sequence[HistoryMessage]) -> list[HistoryMessage]:
    """Move each tool's result directly after its call.

    harmony has no parallel calls, so those of another model become one
    call and its result after the other. A result that a user's or developer's message separates
    from its call stays where it is.
    """
    ordered: list[HistoryMessage] = []
    place: dict[str, int] = {}
    """Positions in `ordered` of calls with no user's or developer's message after them."""
    for one in entries:
        if one.message.role in ("user", "developer"):
            place = {}
        at = place.get(one.call_id or "") if one.message.role == "tool" else None
        if at is None or at + 1 == len(ordered):
            ordered.append(one)
        else:
            ordered.insert(at + 1, one)
            place = {key: was + (was > at) for key, was in place.items()}
        if one.is_call and one.call_id:
            place[one.call_id] = len(ordered) - 1
    return ordered
