"""Every field of a request is taken as OpenAI means it, or refused by its path."""

import json
from typing import Any

import pytest

from ossia.errors import RequestError
from ossia.server.api.history import HistoryMessage
from ossia.server.api.json_body import parse_body
from ossia.server.chat_completions.request import (
    ChatRequest,
    ParsedChatRequest,
    lost_calls,
    read_messages,
    to_turn,
)
from ossia.tools.sessions import namespaces_of
from ossia.tools.tool import ToolSpec
from tests.server.scripted import served_model

HELLO = {"role": "user", "content": "Hello"}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
CUSTOM = {"type": "custom", "custom": {"name": "patch"}}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def parse(
    document: dict[str, Any], known: dict[str, HistoryMessage] | None = None, **more: Any
) -> ParsedChatRequest:
    body = json.dumps({"messages": [HELLO], **document}).encode()
    form = parse_body(body, ChatRequest)
    history = read_messages(form.messages, known or {})
    messages = [one.message for one in history.messages]
    return to_turn(form, history, messages, model=served_model(), date="2026-11-21", **more)


def test_what_runs_here_is_offered_where_it_is_available() -> None:
    offer = namespaces_of([ToolSpec(name="browser.search"), ToolSpec(name="post.send")])
    mail = {"type": "mcp", "server_label": "post", "require_approval": "always"}
    tools = [mail, {"type": "code_interpreter"}]
    found = parse({"tools": tools, "web_search_options": {}}, available=offer)
    policy = found.turn.tool_policy
    assert (policy.require_approval, policy.pause_for_approval) == (("post.send",), ())
    assert found.turn.conversation.builtins == ("browser",)
    assert [space.name for space in found.turn.conversation.namespaces] == ["post"]
    assert found.ignored == ("tools[1]",)
    twice = parse({"tools": [{"type": "web_search"}], "web_search_options": {}}, available=offer)
    assert twice.turn.conversation.builtins == ("browser",)
    nothing = parse({"tools": tools, "web_search_options": {}})
    assert set(nothing.ignored) == {"tools[0]", "tools[1]", "web_search_options"}


def test_the_plainest_request_asks_for_openais_defaults() -> None:
    found = parse({})
    conversation = found.turn.conversation
    assert [(each.role, each.content) for each in conversation.messages] == [("user", "Hello")]
    assert (conversation.effort, conversation.date) == ("medium", "2026-11-21")
    assert (found.turn.params.temperature, found.turn.params.max_tokens) == (1.0, None)
    assert (found.turn.tool_choice, found.turn.answer) == ("auto", None)
    assert found.turn.allow_analysis
    assert (found.num_choices, found.streams, found.includes_usage) == (1, False, False)
    assert (found.shows_reasoning, found.stores, found.ignored) == (True, False, ())


def test_every_optional_field_may_be_null() -> None:
    nulls = dict.fromkeys(set(ChatRequest.model_fields) - {"messages"})
    assert parse(nulls) == parse({})


@pytest.mark.parametrize(
    ("document", "effort", "may_reason", "most"),
    [
        ({"reasoning_effort": "high"}, "high", True, None),
        ({"reasoning": {"effort": "minimal"}}, "low", True, None),
        ({"reasoning_effort": "none"}, "low", False, None),
        ({"reasoning_effort": "xhigh", "reasoning": {"effort": "xhigh"}}, "high", True, None),
        ({"reasoning": {"max_tokens": 0}}, "medium", True, 0),
        ({"reasoning": {"max_tokens": 99, "effort": "low"}}, "low", True, 99),
    ],
)
def test_effort_is_read_in_both_forms(
    document: dict[str, Any], effort: str, may_reason: bool, most: int | None
) -> None:
    turn = parse(document).turn
    assert (turn.conversation.effort, turn.allow_analysis) == (effort, may_reason)
    assert turn.max_analysis_tokens == most


@pytest.mark.parametrize(
    "document", [{"reasoning": {"exclude": True}}, {"include_reasoning": False}]
)
def test_reasoning_can_be_hidden(document: dict[str, Any]) -> None:
    assert not parse(document).shows_reasoning
    assert parse({"reasoning": {"exclude": False}, "include_reasoning": True}).shows_reasoning


@pytest.mark.parametrize(
    "document",
    [
        {"max_tokens": 7},
        {"max_completion_tokens": 7},
        {"max_tokens": 7, "max_completion_tokens": 7},
    ],
)
def test_both_limits_are_one(document: dict[str, Any]) -> None:
    assert parse(document).turn.params.max_tokens == 7


@pytest.mark.parametrize(
    ("document", "num"),
    [({}, None), ({"logprobs": True}, 0), ({"logprobs": True, "top_logprobs": 20}, 20)],
)
def test_logprobs_are_asked_for(document: dict[str, Any], num: int | None) -> None:
    assert parse(document).turn.params.logprobs == num


def test_what_a_stream_and_a_store_are_told() -> None:
    document = {
        "stream": True,
        "stream_options": {"include_usage": True, "include_obfuscation": False},
        "n": 8,
        "store": True,
        "metadata": {"a": "b"},
    }
    found = parse(document)
    assert (found.streams, found.includes_usage, found.num_choices) == (True, True, 8)
    assert (found.stores, found.metadata) == (True, {"a": "b"})
    assert found.ignored == ("stream_options.include_obfuscation",)


def test_tools_and_the_choice_among_them() -> None:
    found = parse(
        {
            "tools": [TOOL, CUSTOM, {"type": "web_search"}],
            "tool_choice": {"type": "function", "function": {"name": "f"}},
            "parallel_tool_calls": True,
        }
    )
    assert [each.name for each in found.turn.conversation.functions] == ["f", "patch"]
    assert found.turn.tool_choice == "f"
    assert found.tools.kinds == {"f": "function", "patch": "custom"}
    assert found.turn.schema_paths["f"] == "tools[0].function.parameters"
    assert found.ignored == ("tools[2]",)


SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}


def test_a_schema_binds_the_answer_and_is_told_to_the_model() -> None:
    named = {"name": "shape", "schema": SCHEMA, "description": "A shape.", "strict": None}
    turn = parse({"response_format": {"type": "json_schema", "json_schema": named}}).turn
    assert turn.answer is not None
    assert (turn.answer.schema, turn.answer.strict) == (SCHEMA, True)
    (shape,) = turn.conversation.response_formats
    assert (shape.name, shape.schema, shape.description) == ("shape", SCHEMA, "A shape.")
    assert turn.schema_paths[""] == "response_format.json_schema.schema"


def test_a_lax_schema_and_plain_json() -> None:
    named = {"name": "shape", "schema": SCHEMA, "strict": False}
    lax = parse({"response_format": {"type": "json_schema", "json_schema": named}}).turn
    assert lax.answer is not None
    assert not lax.answer.strict
    assert parse({"response_format": {"type": "json_object"}}).turn.answer is not None
    assert parse({"response_format": {"type": "text"}}).turn.answer is None


def test_fields_without_meaning_are_named() -> None:
    document = {
        "user": "u",
        "safety_identifier": "s",
        "prompt_cache_key": "k",
        "service_tier": "flex",
        "verbosity": "low",
        "modalities": ["text"],
        "prediction": {"type": "content", "content": "x"},
        "web_search_options": {},
        "brand_new": 1,
        "messages": [{**HELLO, "odd": 1}, {"role": "assistant", "content": "a", "name": "bot"}],
    }
    assert set(parse(document).ignored) == {
        "user",
        "safety_identifier",
        "prompt_cache_key",
        "service_tier",
        "verbosity",
        "modalities",
        "prediction",
        "web_search_options",
        "brand_new",
        "messages[0].odd",
        "messages[1].name",
    }


DEEP: dict[str, Any] = {"type": "object"}
for _ in range(20):
    DEEP = {"type": "object", "properties": {"a": DEEP}}
HUGE = {"type": "object", "description": "x" * 70_000}

BAD: list[tuple[dict[str, Any], str]] = [
    *[({"n": bad}, "n") for bad in (0, -1, 9, 10**6, 1.5, "2", True)],
    *[({"max_tokens": bad}, "max_tokens") for bad in (0, -1, 2**31, 2**63, 1.5, "5", True)],
    *[({"max_completion_tokens": bad}, "max_completion_tokens") for bad in (0, 2**63, "5")],
    ({"max_tokens": 1, "max_completion_tokens": 2}, "max_tokens"),
    *[
        ({"logprobs": True, "top_logprobs": bad}, "top_logprobs")
        for bad in (-1, 21, 10**6, "3", True, 1.5)
    ],
    ({"top_logprobs": 3}, "top_logprobs"),
    ({"logprobs": False, "top_logprobs": 3}, "top_logprobs"),
    ({"logprobs": 3}, "logprobs"),
    ({"logit_bias": {"95": 1}}, "logit_bias.95"),
    ({"logit_bias": {"100": 1}}, "logit_bias.100"),
    ({"stream": 1}, "stream"),
    ({"stream_options": {"include_usage": "yes"}}, "stream_options.include_usage"),
    ({"stream_options": []}, "stream_options"),
    ({"reasoning_effort": "extreme"}, "reasoning_effort"),
    ({"reasoning_effort": "low", "reasoning": {"effort": "high"}}, "reasoning_effort"),
    ({"reasoning": {"effort": 5}}, "reasoning.effort"),
    ({"reasoning": {"max_tokens": -1}}, "reasoning.max_tokens"),
    ({"reasoning": {"exclude": "no"}}, "reasoning.exclude"),
    ({"include_reasoning": "no"}, "include_reasoning"),
    ({"functions": []}, "functions"),
    ({"function_call": "auto"}, "function_call"),
    ({"tools": {}}, "tools"),
    ({"tools": [5]}, "tools[0]"),
    ({"tools": [TOOL] * 129}, "tools"),
    ({"tools": [TOOL, TOOL]}, "tools[1].function.name"),
    ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name"),
    (
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": DEEP}}]},
        "tools[0].function.parameters",
    ),
    ({"tool_choice": "sometimes"}, "tool_choice"),
    ({"tool_choice": 5}, "tool_choice"),
    ({"tool_choice": "required"}, "tool_choice"),
    (
        {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "g"}}},
        "tool_choice.function.name",
    ),
    ({"response_format": "json"}, "response_format"),
    ({"response_format": {"type": "xml"}}, "response_format.type"),
    ({"response_format": {}}, "response_format.type"),
    ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
    (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "a"}}},
        "response_format.json_schema.schema",
    ),
    (
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {}}}},
        "response_format.json_schema.name",
    ),
    (
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "a b", "schema": {}},
            }
        },
        "response_format.json_schema.name",
    ),
    (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": HUGE}}},
        "response_format.json_schema.schema",
    ),
    ({"store": "yes"}, "store"),
    ({"metadata": {"a": 1}}, "metadata.a"),
    ({"user": 5}, "user"),
    ({"model": ""}, "model"),
    ({"model": 5}, "model"),
    ({"seed": 2**63}, "seed"),
    ({"temperature": 3}, "temperature"),
    ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
    ({"parallel_tool_calls": 1}, "parallel_tool_calls"),
    ({"messages": None}, "messages"),
    ({"messages": []}, "messages"),
    ({"messages": {}}, "messages"),
    ({"messages": "Hello"}, "messages"),
    ({"messages": [HELLO] * 2001}, "messages"),
    ({"messages": ["Hello"]}, "messages[0]"),
]


@pytest.mark.parametrize(("document", "param"), BAD)
def test_a_bad_field_is_refused_by_its_path(document: dict[str, Any], param: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse(document)
    assert caught.value.param == param
    assert len(str(caught.value)) < 400


def talk(
    *messages: dict[str, Any], known: dict[str, HistoryMessage] | None = None
) -> ParsedChatRequest:
    return parse({"messages": list(messages)}, known)


def test_leading_instructions_are_told_first_and_later_ones_stay() -> None:
    conversation = talk(
        {"role": "system", "content": "Be brief."},
        {"role": "developer", "content": [{"type": "text", "text": "Be kind."}]},
        HELLO,
        {"role": "system", "content": "Be gone."},
    ).turn.conversation
    assert conversation.instructions == "Be brief.\n\nBe kind."
    assert [(each.role, each.content) for each in conversation.messages] == [
        ("user", "Hello"),
        ("developer", "Be gone."),
    ]


def test_parts_are_joined_and_names_kept() -> None:
    parts = [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}]
    (message,) = talk({"role": "user", "content": parts, "name": "ann"}).turn.conversation.messages
    assert (message.content, message.name) == ("Hello", "ann")
    assert talk({**HELLO, "name": ""}).turn.conversation.messages[0].name is None


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content", "thinking"])
def test_reasoning_preamble_and_calls_become_messages_of_their_own(field: str) -> None:
    patch = {"id": "c2", "type": "custom", "custom": {"name": "patch", "input": "***"}}
    conversation = talk(
        HELLO,
        {"role": "assistant", field: "hm", "content": "Now.", "tool_calls": [CALL, patch]},
        {"role": "tool", "tool_call_id": "c1", "content": "1", "name": "f"},
        {"role": "tool", "tool_call_id": "c2", "content": ""},
        {"role": "assistant", "content": "So."},
    ).turn.conversation
    assert [
        (each.role, each.channel, each.recipient, each.name, each.content_type, each.content)
        for each in conversation.messages[1:]
    ] == [
        ("assistant", "analysis", None, None, None, "hm"),
        ("assistant", "commentary", None, None, None, "Now."),
        ("assistant", "commentary", "functions.f", None, "json", "{}"),
        ("assistant", "commentary", "functions.patch", None, "code", "***"),
        ("tool", "commentary", None, "functions.f", None, "1"),
        ("tool", "commentary", None, "functions.patch", None, ""),
        ("assistant", "final", None, None, None, "So."),
    ]


def test_a_message_of_the_sdk_can_be_sent_back_as_it_came() -> None:
    came = {
        "role": "assistant",
        "content": None,
        "refusal": None,
        "annotations": None,
        "audio": None,
        "function_call": None,
        "tool_calls": [CALL],
    }
    found = talk(HELLO, came, {"role": "tool", "tool_call_id": "c1", "content": "1"})
    assert found.ignored == ()
    assert [each.role for each in found.turn.conversation.messages] == ["user", "assistant", "tool"]


@pytest.mark.parametrize(
    ("message", "channel", "content"),
    [
        ({"content": ""}, "final", ""),
        ({"content": None, "refusal": "No."}, "final", "No."),
        ({"content": [{"type": "refusal", "refusal": "No."}]}, "final", "No."),
        ({"reasoning": "hm"}, "analysis", "hm"),
    ],
)
def test_what_an_assistant_left_unsaid(message: dict[str, Any], channel: str, content: str) -> None:
    (found,) = talk({"role": "assistant", **message}, HELLO).turn.conversation.messages[:-1]
    assert (found.channel, found.content) == (channel, content)


def test_a_call_with_empty_content_has_no_preamble() -> None:
    messages = talk(HELLO, {"role": "assistant", "content": "", "tool_calls": [CALL]})
    assert [each.recipient for each in messages.turn.conversation.messages[1:]] == ["functions.f"]


def test_a_call_without_a_type_is_known_by_what_it_holds() -> None:
    calls = [
        {"id": "c1", "function": {"name": "f", "arguments": "{}"}},
        {"id": "c2", "custom": {"name": "patch", "input": "x"}},
    ]
    found = talk(HELLO, {"role": "assistant", "tool_calls": calls}).turn.conversation.messages
    assert [each.content_type for each in found[1:]] == ["json", "code"]


def test_a_call_the_client_lost_is_put_back_before_its_result() -> None:
    messages = [HELLO, {"role": "tool", "tool_call_id": "c1", "content": "1"}]
    form = parse_body(json.dumps({"messages": messages}).encode(), ChatRequest)
    assert lost_calls(form.messages) == ["c1"]
    made = read_messages(
        parse_body(
            json.dumps({"messages": [{"role": "assistant", "tool_calls": [CALL]}]}).encode(),
            ChatRequest,
        ).messages,
        {},
    ).messages[0]
    found = talk(*messages, known={"c1": made}).turn.conversation.messages
    assert [(each.role, each.recipient, each.name) for each in found] == [
        ("user", None, None),
        ("assistant", "functions.f", None),
        ("tool", None, "functions.f"),
    ]


def test_calls_know_their_ids() -> None:
    messages = [{"role": "assistant", "tool_calls": [CALL]}]
    messages += [{"role": "tool", "tool_call_id": "c1", "content": "1"}]
    form = parse_body(json.dumps({"messages": messages}).encode(), ChatRequest)
    assert lost_calls(form.messages) == []
    assert [one.call_id for one in read_messages(form.messages, {}).messages] == ["c1", "c1"]


ASSISTANT = {"role": "assistant", "tool_calls": [CALL]}
BAD_MESSAGES: list[tuple[dict[str, Any], str]] = [
    ({"content": "x"}, "role"),
    ({"role": "function", "content": "x", "name": "f"}, "role"),
    ({"role": "wizard", "content": "x"}, "role"),
    ({"role": "user"}, "content"),
    ({"role": "user", "content": None}, "content"),
    ({"role": "user", "content": 5}, "content"),
    ({"role": "user", "content": ["x"]}, "content[0]"),
    ({"role": "user", "content": [{"text": "x"}]}, "content[0].type"),
    ({"role": "user", "content": [{"type": "text"}]}, "content[0].text"),
    ({"role": "user", "content": [{"type": "text", "text": 5}]}, "content[0].text"),
    ({"role": "user", "content": [{"type": "text", "text": "x"}] * 1001}, "content"),
    (
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "file:///x"}}]},
        "content[0].type",
    ),
    ({"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}, "content[0].type"),
    ({"role": "user", "content": [{"type": "file", "file": {}}]}, "content[0].type"),
    ({"role": "assistant", "content": [{"type": "refusal"}]}, "content[0].refusal"),
    ({"role": "user", "content": "x", "name": "a to=functions.f"}, "name"),
    ({"role": "user", "content": "x", "name": "a" * 10_000}, "name"),
    ({"role": "user", "content": "x", "name": 5}, "name"),
    ({"role": "user", "content": "x", "tool_calls": [CALL]}, "tool_calls"),
    ({"role": "user", "content": "x", "reasoning": "hm"}, "reasoning"),
    ({"role": "system", "content": "x", "tool_call_id": "c1"}, "tool_call_id"),
    ({"role": "assistant"}, "content"),
    ({"role": "assistant", "content": "x", "function_call": {"name": "f"}}, "function_call"),
    ({"role": "assistant", "tool_calls": [5]}, "tool_calls[0]"),
    ({"role": "assistant", "tool_calls": [CALL] * 129}, "tool_calls"),
    ({"role": "assistant", "tool_calls": [{**CALL, "id": ""}]}, "tool_calls[0].id"),
    ({"role": "assistant", "tool_calls": [{**CALL, "id": None}]}, "tool_calls[0].id"),
    ({"role": "assistant", "tool_calls": [{**CALL, "type": "mcp"}]}, "tool_calls[0].type"),
    ({"role": "assistant", "tool_calls": [{"id": "c"}]}, "tool_calls[0].function"),
    (
        {"role": "assistant", "tool_calls": [{"id": "c", "type": "custom"}]},
        "tool_calls[0].custom",
    ),
    (
        {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f"}}]},
        "tool_calls[0].function.arguments",
    ),
    (
        {
            "role": "assistant",
            "tool_calls": [{"id": "c", "function": {"name": "f to=g", "arguments": ""}}],
        },
        "tool_calls[0].function.name",
    ),
    ({"role": "tool", "content": "x"}, "tool_call_id"),
    ({"role": "tool", "content": "x", "tool_call_id": "c9"}, "tool_call_id"),
    ({"role": "tool", "content": "x", "tool_call_id": 5}, "tool_call_id"),
    ({"role": "tool", "content": None, "tool_call_id": "c1"}, "content"),
]


@pytest.mark.parametrize(("message", "field"), BAD_MESSAGES)
def test_a_bad_message_is_refused_by_its_path(message: dict[str, Any], field: str) -> None:
    with pytest.raises(RequestError) as caught:
        talk(HELLO, ASSISTANT, message)
    assert caught.value.param == f"messages[2].{field}"
    assert len(str(caught.value)) < 400


def test_a_bad_leading_message_is_refused_too() -> None:
    with pytest.raises(RequestError) as caught:
        talk({"role": "system", "content": None})
    assert caught.value.param == "messages[0].content"
