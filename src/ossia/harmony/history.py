"""Drops past reasoning that a model no longer needs."""

from collections.abc import Sequence

from ossia.harmony.messages import FUNCTIONS, Message


def drop_old_reasoning(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Drop the reasoning of finished turns.

    Before the last answer that a user message follows, bare analysis goes, and so do built-in
    calls on analysis with their results. Function calls, preambles and answers stay, and so does
    everything after that answer: a tool loop needs its reasoning.
    """
    over = _last_answered(messages)
    history = []
    dropped_call: str | None = None
    for at, message in enumerate(messages):
        if at >= over:
            history.append(message)
        elif message.role == "tool":
            if dropped_call is None or not _answers(message, dropped_call):
                history.append(message)
        elif _is_reasoning(message):
            dropped_call = message.recipient
        else:
            history.append(message)
            dropped_call = None
    return tuple(history)


def _last_answered(messages: Sequence[Message]) -> int:
    """Index of the last answer that a user message follows; 0 if there is none."""
    user_follows = False
    for at in range(len(messages) - 1, -1, -1):
        message = messages[at]
        if message.role == "user":
            user_follows = True
        elif user_follows and message.role == "assistant" and message.channel == "final":
            return at
    return 0


def _is_reasoning(message: Message) -> bool:
    """Whether it is reasoning, or a call of a built-in tool on the analysis channel."""
    if message.role != "assistant" or message.channel != "analysis":
        return False
    return message.recipient is None or not message.recipient.startswith(f"{FUNCTIONS}.")


def _answers(result: Message, recipient: str) -> bool:
    """Whether a result belongs to a call; a built-in tool may use its namespace alone."""
    name = result.name or ""
    return name.split(".")[0] == recipient.split(".")[0]
