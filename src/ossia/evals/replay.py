"""Replays a dialogue with a model: its replies are compared, tool results are played back.

Compares with the expected messages; `nano_cells` generates them.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from ossia.chat.events import Reply, ToolCalled, collect
from ossia.chat.llm import LLM
from ossia.chat.request import AnswerSchema, TurnRequest
from ossia.engine.request import SamplingParams
from ossia.harmony.messages import FUNCTIONS, Conversation, Message
from ossia.harmony.prompt_text import PYTHON
from ossia.tasks.nano.judge import fits, is_right_answer, is_same, parse

CITES = "【"
GREEDY = SamplingParams(temperature=0, max_tokens=400)


class ReplayStep(NamedTuple):
    """The expected next message, and the tool result if it is a call."""

    expected: Message
    result: Message | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayResult:
    """The outcome of a dialogue, up to its end or its first error."""

    right: bool
    reasoning_tokens: int
    num_due: int = 0
    """Calls expected before the first error."""
    num_begun: int = 0
    """Calls that the model began, of any tool, expected or not."""
    num_whole: int = 0
    """Begun calls that ended with complete arguments, an object where one is expected."""
    num_exact: int = 0
    """Expected calls with the right tool and exactly the right arguments."""
    found: bool | None = None
    """Whether an answer states what the page says, however it is cited; None without a page."""
    valid: bool | None = None
    """Whether the answer fits the response format; None without one."""
    replies: tuple[Message, ...]
    """The messages of the model, tool results between."""


def steps(conversation: Conversation) -> Iterator[ReplayStep]:
    """The calls and the answer of the last turn."""
    last_user = max(at for at, each in enumerate(conversation.messages) if each.role == "user")
    new = conversation.messages[last_user + 1 :]
    for at, message in enumerate(new):
        if message.recipient is not None:
            yield ReplayStep(message, new[at + 1])
        elif message.channel == "final":
            yield ReplayStep(message, None)


def replay(llm: LLM, conversation: Conversation, *, constrained: bool = True) -> ReplayResult:
    """Let the model generate the last turn of a dialogue; earlier turns are given.

    Args:
        llm: the model.
        conversation: a whole dialogue.
        constrained: keep the answer to its response format while it is written.
    """
    last_user = max(at for at, each in enumerate(conversation.messages) if each.role == "user")
    context = conversation.messages[: last_user + 1]
    replies: tuple[Message, ...] = ()
    formats = conversation.response_formats
    shape = AnswerSchema(schema=formats[0].schema) if formats and constrained else None
    reasoning, right, valid = 0, False, None
    calls = Counter[str]()
    for expected, result in steps(conversation):
        now = replace(conversation, messages=(*context, *replies))
        request = TurnRequest(conversation=now, params=GREEDY, answer=shape)
        reply = collect(llm.generate_turn(request))
        replies += tuple(reply.messages)
        reasoning += reply.usage.reasoning_tokens
        calls["due"] += result is not None
        calls["begun"] += sum(each.recipient is not None for each in reply.messages)
        calls["whole"] += sum(map(_is_whole, reply.tool_calls))
        calls["exact"] += result is not None and _is_exact(expected, reply)
        if formats:
            valid = fits(parse(reply.text), formats[0].schema)
        if not is_right(expected, reply, context=context):
            break
        replies += () if result is None else (result,)
    else:
        right = True
    return ReplayResult(
        right=right,
        reasoning_tokens=reasoning,
        num_due=calls["due"],
        num_begun=calls["begun"],
        num_whole=calls["whole"],
        num_exact=calls["exact"],
        found=_found(conversation, replies),
        valid=valid,
        replies=replies,
    )


def is_right(expected: Message, reply: Reply, *, context: tuple[Message, ...]) -> bool:
    """Whether a reply is the call or the answer that was expected.

    A call must be of the same tool with the same arguments; the task judges an answer.
    """
    if expected.recipient is not None:
        return _is_exact(expected, reply)
    if reply.tool_calls or reply.finish_reason != "stop":
        return False
    return is_right_answer(expected.text, reply.text, question=context[-1].text)


def _is_whole(call: ToolCalled) -> bool:
    """Whether the arguments of a call are complete: any code, or a JSON object."""
    return call.name == PYTHON.name or isinstance(parse(call.arguments), dict)


def _is_exact(expected: Message, reply: Reply) -> bool:
    """Whether it is one call of the expected tool with the same arguments."""
    if len(reply.tool_calls) != 1:
        return False
    call = reply.tool_calls[0]
    tool = (expected.recipient or "").removeprefix(f"{FUNCTIONS}.")
    return call.name == tool and is_same(call.arguments, expected.text)


def _found(conversation: Conversation, replies: tuple[Message, ...]) -> bool | None:
    """Whether an answer starts like the expected one, up to its citation."""
    value, cites, _ = conversation.messages[-1].text.partition(CITES)
    finals = [each.text for each in replies if each.role == "assistant" and each.channel == "final"]
    return any(text.startswith(value.strip()) for text in finals) if cites else None
