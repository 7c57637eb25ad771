import pytest

from ossia.chat.conversation import to_conversation
from ossia.errors import RequestError
from ossia.harmony.messages import FunctionTool, Message

CITY = {"type": "object", "properties": {"city": {"type": "string"}}}
WEATHER = {
    "type": "function",
    "function": {"name": "weather", "description": "Now.", "parameters": CITY},
}
CALL = {
    "role": "assistant",
    "reasoning": "ask",
    "content": "Looking.",
    "tool_calls": [{"id": "c1", "function": {"name": "weather", "arguments": '{"city":"Rome"}'}}],
}


def made(messages, **options):
    asked = {"effort": "medium", "instructions": None, "tools": (), "date": None, **options}
    return to_conversation(messages, **asked)


def test_one_text_is_one_user_message():
    assert made("Hi").messages == (Message(role="user", content="Hi"),)


def test_leading_system_and_developer_messages_are_the_instructions():
    conversation = made(
        [
            {"role": "system", "content": "Be brief."},
            {"role": "developer", "content": [{"type": "text", "text": "Be kind."}]},
            {"role": "user", "content": "Hi"},
            {"role": "developer", "content": "Now in French."},
        ],
        instructions="Be right.",
    )
    assert conversation.instructions == "Be right.\n\nBe brief.\n\nBe kind."
    assert [message.role for message in conversation.messages] == ["user", "developer"]


def test_a_tool_loop_becomes_harmony_messages():
    said = [{"role": "user", "content": "?"}, CALL,
            {"role": "tool", "tool_call_id": "c1", "content": "sunny"}]  # fmt: skip
    _, thought, preamble, call, result = made(said, tools=[WEATHER]).messages
    assert (thought.channel, thought.content) == ("analysis", "ask")
    assert (preamble.channel, preamble.recipient, preamble.content) == (
        "commentary",
        None,
        "Looking.",
    )
    assert (call.recipient, call.content) == ("functions.weather", '{"city":"Rome"}')
    assert (result.role, result.name, result.content) == ("tool", "functions.weather", "sunny")


def test_tools_come_as_openai_spells_them_or_as_our_own():
    ours = FunctionTool(name="own")
    theirs, own = made("?", tools=[WEATHER, ours]).functions
    assert (theirs.name, theirs.description) == ("weather", "Now.")
    assert own is ours


@pytest.mark.parametrize(
    ("messages", "found"),
    [
        ([], "no messages"),
        (["Hi"], "a str"),
        ([{"role": "wizard", "content": "x"}], "wizard"),
        ([{"role": "user"}], "NoneType"),
        ([{"role": "user", "content": [{"type": "image_url"}]}], "text only"),
        ([{"role": "assistant"}], "neither content"),
        ([{"role": "assistant", "tool_calls": [{"id": "1"}]}], "needs"),
        ([{"role": "tool", "tool_call_id": "c9", "content": "x"}], "c9"),
    ],
)
def test_refuses_what_has_no_meaning(messages, found):
    with pytest.raises(RequestError, match=found):
        made(messages)


def test_refuses_a_tool_without_a_name():
    with pytest.raises(RequestError, match="a tool needs"):
        made("?", tools=[{"type": "function"}])
