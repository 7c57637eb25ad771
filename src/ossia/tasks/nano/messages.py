"""The messages tasks are made of, each in the form gpt-oss itself writes it.

Knows roles, channels and headers; not what is said.
"""

from collections.abc import Mapping
from typing import Any

from ossia.harmony.messages import FUNCTIONS, Conversation, Message
from ossia.harmony.schema_text import json_text
from ossia.tasks.task import TaskSettings

CONSTRAINED = "<|constrain|>json"


def converse(messages: tuple[Message, ...], settings: TaskSettings, **fields: Any) -> Conversation:
    """A conversation under a setting; `fields` are further fields of `Conversation`."""
    return Conversation(messages=messages, effort=settings.effort, date=settings.date, **fields)


def exchange(question: str, reasoning: str | None, answer: str) -> tuple[Message, ...]:
    """One question, the reasoning if the effort asks for any, and the answer."""
    return (user(question), *thought(reasoning), final(answer))


def user(text: str) -> Message:
    """A user message."""
    return Message(role="user", content=text)


def thought(text: str | None) -> tuple[Message, ...]:
    """Reasoning of its own message, or nothing."""
    if text is None:
        return ()
    return (Message(role="assistant", channel="analysis", content=text),)


def final(text: str) -> Message:
    """A message on the final channel."""
    return Message(role="assistant", channel="final", content=text)


def final_json(value: object) -> Message:
    """An answer under a response format."""
    return Message(
        role="assistant", channel="final", content_type=CONSTRAINED, content=json_text(value)
    )


def call_function(name: str, arguments: Mapping[str, Any]) -> Message:
    """A call of a developer's function."""
    return Message(
        role="assistant",
        channel="commentary",
        recipient=f"{FUNCTIONS}.{name}",
        content_type=CONSTRAINED,
        content=json_text(dict(arguments)),
    )


def call_builtin(recipient: str, body: str) -> Message:
    """A call of the browser or of python; they are called while thinking."""
    return Message(
        role="assistant", channel="analysis", recipient=recipient, content_type="code", content=body
    )


def result(call: Message, text: str) -> Message:
    """The result of a call."""
    return Message(role="tool", name=call.recipient, channel=call.channel, content=text)
