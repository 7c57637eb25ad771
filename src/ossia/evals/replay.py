"""Plays a dialogue with a model: what it says is compared, what a tool gives is told it.

Knows what was expected; not how it was made up.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from ossia.chat.events import Reply, ToolCalled, collect
from ossia.chat.llm import LLM
from ossia.chat.request import AnswerShape, TurnRequest
from ossia.engine.request import SamplingParams
from ossia.harmony.messages import FUNCTIONS, Conversation, Message
from ossia.harmony.tool_text import PYTHON

STORY = "In a "
"""How every story of training begins, and no other answer."""
CITES = "【"
GREEDY = SamplingParams(temperature=0, max_tokens=400)
_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "string": str, "integer": int, "number": (int, float), "boolean": bool, "array": list,
    "object": dict, "null": type(None),
}  # fmt: skip


class Step(NamedTuple):
    """What the model should do next, and what comes back if it is a call."""

    expected: Message
    result: Message | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """How a dialogue went, up to its end or to the first thing that was wrong."""

    right: bool
    reasoning_tokens: int
    num_due: int = 0
    """Calls that were due before it went wrong."""
    num_begun: int = 0
    """Calls that were begun, due or not, of whatever tool."""
    num_whole: int = 0
    """Of those begun: those that ended and have whole arguments, an object where one is due."""
    num_exact: int = 0
    """Of those due: those of the right tool with exactly the right arguments."""
    found: bool | None = None
    """Whether an answer says what the page says, cited rightly or not, where a page does."""
    valid: bool | None = None
    """Whether the answer fits the response format, where there is one."""
    said: tuple[Message, ...]
    """What the model said, results between."""


def steps(conversation: Conversation) -> Iterator[Step]:
    """The calls and the answer of the last turn."""
    last_user = max(at for at, each in enumerate(conversation.messages) if each.role == "user")
    new = conversation.messages[last_user + 1 :]
    for at, message in enumerate(new):
        if message.recipient is not None:
            yield Step(message, new[at + 1])
        elif message.channel == "final":
            yield Step(message, None)


def play(llm: LLM, conversation: Conversation, *, held: bool = True) -> Played:
    """Let the model take the last turn of a dialogue; earlier turns are as they were drawn.

    Args:
        llm: the model.
        conversation: a whole dialogue.
        held: keep the answer to its response format while it is written.
    """
    last_user = max(at for at, each in enumerate(conversation.messages) if each.role == "user")
    told = conversation.messages[: last_user + 1]
    said: tuple[Message, ...] = ()
    formats = conversation.response_formats
    shape = AnswerShape(schema=formats[0].schema) if formats and held else None
    reasoning, right, valid = 0, False, None
    calls = Counter[str]()
    for expected, result in steps(conversation):
        now = replace(conversation, messages=(*told, *said))
        reply = collect(llm.write(TurnRequest(conversation=now, params=GREEDY, answer=shape)))
        said += tuple(reply.messages)
        reasoning += reply.usage.reasoning_tokens
        calls["due"] += result is not None
        calls["begun"] += sum(each.recipient is not None for each in reply.messages)
        calls["whole"] += sum(map(_is_whole, reply.tool_calls))
        calls["exact"] += result is not None and _is_exact(expected, reply)
        if formats:
            valid = fits(_read(reply.text), formats[0].schema)
        if not is_right(expected, reply, told=told):
            break
        said += () if result is None else (result,)
    else:
        right = True
    return Played(
        right=right,
        reasoning_tokens=reasoning,
        num_due=calls["due"],
        num_begun=calls["begun"],
        num_whole=calls["whole"],
        num_exact=calls["exact"],
        found=_found(conversation, said),
        valid=valid,
        said=said,
    )


def is_right(expected: Message, reply: Reply, *, told: tuple[Message, ...]) -> bool:
    """Whether a reply is the call or the answer that was expected.

    A call must be of the same tool with the same arguments, an answer the same text or the same
    JSON; of a story it is only asked that it is one, has an end, and is about whom it should.
    """
    if expected.recipient is not None:
        return _is_exact(expected, reply)
    if reply.tool_calls or reply.finish_reason != "stop":
        return False
    if expected.text.startswith(STORY):
        hero = expected.text.split(" lived a ")[1].split()[0]
        is_about = f" {hero}" in reply.text and hero in told[-1].text.lower()
        return reply.text.startswith(STORY) and is_about and reply.text.endswith((".", "!"))
    return _same(reply.text.strip(), expected.text)


def _is_whole(call: ToolCalled) -> bool:
    """Code is whole as it is; arguments are an object."""
    return call.name == PYTHON.name or isinstance(_read(call.arguments), dict)


def _is_exact(expected: Message, reply: Reply) -> bool:
    """Whether it is one call, of the tool that was expected, with the same arguments."""
    if len(reply.tool_calls) != 1:
        return False
    call = reply.tool_calls[0]
    tool = (expected.recipient or "").removeprefix(f"{FUNCTIONS}.")
    return call.name == tool and _same(call.arguments, expected.text)


def _found(conversation: Conversation, said: tuple[Message, ...]) -> bool | None:
    """Whether an answer begins as the expected one does, up to where that cites a page."""
    told, cites, _ = conversation.messages[-1].text.partition(CITES)
    finals = [each.text for each in said if each.role == "assistant" and each.channel == "final"]
    return any(text.startswith(told.strip()) for text in finals) if cites else None


def fits(value: object, schema: Mapping[str, Any]) -> bool:
    """Whether a value is of a schema of objects, lists and plain types, as our records are."""
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    if not any(_is(value, kind) for kind in kinds):
        return False
    if isinstance(value, list):
        return all(fits(each, schema["items"]) for each in value)
    if isinstance(value, dict):
        properties = schema["properties"]
        known = set(value) <= set(properties) or "additionalProperties" not in schema
        has_all = set(schema["required"]) <= set(value)
        return (
            known
            and has_all
            and all(fits(value[key], shape) for key, shape in properties.items() if key in value)
        )
    return True


def _is(value: object, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, _TYPES[kind])


def _same(found: str, expected: str) -> bool:
    """The same text, or JSON of the same meaning."""
    if found == expected:
        return True
    if not expected.startswith("{"):
        return False
    return bool(_read(found) == _read(expected))


def _read(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
