"""A history as a client sends it: harmony messages, and what each may be known by.

It knows no wire format and no memory; both APIs translate what they get into this.
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
    """Of the item that it was in the Responses API."""
    call_id: str | None = None
    """Of a call, or of the call that a tool's result answers."""
    sealed: str | None = None
    """Reasoning that the client could not read; the message's text may then be empty."""
    shown_text: str | None = None
    """The text as the client got it, where it is not the message's: marks became links."""
    result: Message | None = None
    """Of a call that was run here: what it gave; it follows the message."""

    @property
    def is_call(self) -> bool:
        """Whether the model asks for a tool."""
        return self.message.role == "assistant" and self.message.recipient is not None

    @property
    def messages(self) -> tuple[Message, ...]:
        """The message and, behind a call that was run here, its result."""
        return (self.message,) if self.result is None else (self.message, self.result)


def with_result(call: HistoryMessage, ran: ToolFinished) -> HistoryMessage:
    """A call of a tool of ours once it has run; clients know it by its item alone."""
    return replace(call, result=result_message(ran, call.message), call_id=None)


class TurnRecorder:
    """Records the messages of one turn from its events, to recognise them in later requests.

    Attributes:
        messages: those that ended; a call that was cut is no call, and is left out.
    """

    def __init__(self) -> None:
        self.messages: list[HistoryMessage] = []
        self._call_id: str | None = None

    def push(self, event: Event, written: HistoryMessage | None = None) -> None:
        """Take the next event.

        Args:
            event: of the turn.
            written: the message that ended, as an API wrote it; None: with no id but a call's.
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
    """What can be gone on from: a call that was to be run here, but was not, is left out."""
    return [one for one in entries if not one.is_call or one.result is not None or _is_theirs(one)]


def _is_theirs(call: HistoryMessage) -> bool:
    return (call.message.recipient or "").startswith(f"{FUNCTIONS}.")


def paired(entries: Sequence[HistoryMessage]) -> list[HistoryMessage]:
    """Put each tool's result right behind its call; nothing else moves.

    harmony knows one call at a time, so several calls at once (another model's) are spelt as one
    call and its result after the other. A result that a user's or developer's message parts from
    its call stays where it is.
    """
    ordered: list[HistoryMessage] = []
    place: dict[str, int] = {}
    """Where in `ordered` a call stands that no user or developer has spoken since."""
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
