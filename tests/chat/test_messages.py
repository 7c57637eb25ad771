import pytest

from ossia.chat.messages import to_answer_schema, to_conversation, translate
from ossia.chat.request import AnswerSchema
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
    request = {"effort": "medium", "instructions": None, "tools": (), "date": None, **options}
    return to_conversation(messages, **request)


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
    history = [{"role": "user", "content": "?"}, CALL,
            {"role": "tool", "tool_call_id": "c1", "content": "sunny"}]  # fmt: skip
    _, thought, preamble, call, result = made(history, tools=[WEATHER]).messages
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
        ([{"role": "user"}], r"messages\[0\].content is missing; a user message needs it"),
        ([{"role": "user", "content": None}], r"messages\[0\].content is missing"),
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


def test_harmony_messages_pass_as_they_are():
    thought = Message(role="assistant", channel="analysis", content="hm", sampled_ids=(1, 2))
    spoken = made([{"role": "system", "content": "s"}, thought])
    assert (spoken.instructions, spoken.messages) == ("s", (thought,))


@pytest.mark.parametrize("response_format", [None, {"type": "text"}])
def test_without_a_format_any_text_will_do(response_format):
    assert to_answer_schema(response_format) is None
    assert made("Hi", response_format=response_format).response_formats == ()


def test_a_json_object_has_a_shape_but_no_words():
    assert to_answer_schema({"type": "json_object"}) == AnswerSchema(schema={"type": "object"})
    assert made("Hi", response_format={"type": "json_object"}).response_formats == ()


def test_a_schema_is_told_and_held():
    named = {"name": "s", "schema": {"type": "object"}, "description": "d", "strict": False}
    response_format = {"type": "json_schema", "json_schema": named}
    assert to_answer_schema(response_format) == AnswerSchema(
        schema={"type": "object"}, strict=False
    )
    (shape,) = made("Hi", response_format=response_format).response_formats
    assert (shape.name, shape.schema, shape.description) == ("s", {"type": "object"}, "d")


@pytest.mark.parametrize(
    "response_format",
    [{"type": "xml"}, {}, {"type": "json_schema"}, {"type": "json_schema", "json_schema": {}}],
)
def test_a_format_that_is_none_is_refused(response_format):
    with pytest.raises(RequestError, match="json_schema"):
        to_answer_schema(response_format)
    if response_format.get("type") == "json_schema":
        with pytest.raises(RequestError):
            made("Hi", response_format=response_format)


def test_a_result_brings_a_recalled_call_back_before_it():
    call = Message(role="assistant", channel="commentary", recipient="functions.f", content="{}")
    result = {"role": "tool", "tool_call_id": "c1", "content": "1"}
    first, second = translate([result], {"c1": call}).messages
    assert (first.message, first.call_id) == (call, "c1")
    assert (second.message.name, second.call_id) == ("functions.f", "c1")


def test_a_custom_tools_call_is_known_by_what_it_holds():
    called = {"id": "c1", "custom": {"name": "patch", "input": "x"}}
    (call,) = made([{"role": "assistant", "tool_calls": [called]}]).messages
    assert (call.recipient, call.content_type, call.content) == ("functions.patch", "code", "x")


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ({"role": "user"}, "content"),
        ({"role": "user", "content": [3]}, "content[0].type"),
        ({"role": "user", "content": [{"text": 3}]}, "content[0].text"),
        ({"role": "user", "content": "x", "name": "a b"}, "name"),
        ({"role": "user", "content": "x", "reasoning": "hm"}, "reasoning"),
        ({"role": "assistant", "tool_calls": [3]}, "tool_calls[0]"),
        ({"role": "assistant", "tool_calls": [{"function": {}}]}, "tool_calls[0].function"),
        ({"role": "tool", "content": "x"}, "tool_call_id"),
    ],
)
def test_a_bad_message_is_named_by_its_path(message, param):
    with pytest.raises(RequestError) as caught:
        made([{"role": "user", "content": "Hi"}, message])
    assert caught.value.param == f"messages[1].{param}"
