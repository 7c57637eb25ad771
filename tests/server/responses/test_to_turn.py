import json
from dataclasses import replace
from types import MappingProxyType

import pytest
from openai.types.responses import Response
from pydantic import TypeAdapter

from ossia.chat.request import ApprovalDecision
from ossia.errors import RequestError
from ossia.harmony.messages import Message
from ossia.server.api.errors import Forbidden
from ossia.server.api.json_body import parse_body
from ossia.server.responses.objects import OUTPUTS, SOURCES
from ossia.server.responses.request import ENCRYPTED, LOGPROBS, CreateRequest
from ossia.server.responses.to_turn import ParsedResponseRequest
from ossia.server.responses.writer import ResponseWriter
from ossia.tools.sessions import namespaces_of
from ossia.tools.tool import ToolSpec
from tests.server.scripted import served_model

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}
FUNCTION = {"type": "function", "name": "f", "parameters": SCHEMA}
USER = Message(role="user", content="hi")


SPECS = [ToolSpec(name=name) for name in ("browser.search", "python", "post.send")]
OFFER = namespaces_of(SPECS, {"post": "Mail.", "dead": ""})


def parse(offer=MappingProxyType({}), **fields):
    form = parse_body(json.dumps({"input": "hi", **fields}).encode(), CreateRequest)
    return ParsedResponseRequest.of(form, served_model(), offer, {"tools"})


def turn(*messages, **fields):
    return parse(**fields).to_turn(messages or (USER,), "2026-01-02")


def refused(**fields):
    with pytest.raises(RequestError) as found:
        turn(**fields)
    return found.value


def strictly(settings):
    """The response as OpenAI's own types read it, every value checked."""
    return TypeAdapter(Response).validate_python(ResponseWriter(settings).response, strict=False)


def test_what_is_left_out_is_as_openai_has_it():
    found = turn()
    assert (found.params.temperature, found.params.top_p, found.params.logprobs) == (1, 1, None)
    assert (found.tool_choice, found.answer, found.allow_analysis) == ("auto", None, True)
    assert (found.conversation.effort, found.conversation.date) == ("medium", "2026-01-02")
    assert found.conversation.messages == (USER,)


@pytest.mark.parametrize(
    ("effort", "ours", "may_reason"),
    [("minimal", "low", True), ("xhigh", "high", True), ("none", "low", False)],
)
def test_efforts_the_model_does_not_know_are_the_nearest_it_knows(effort, ours, may_reason):
    found = turn(reasoning={"effort": effort, "max_tokens": 9})
    assert (found.conversation.effort, found.allow_analysis) == (ours, may_reason)
    assert found.max_analysis_tokens == 9


def test_leading_developer_messages_join_the_instructions():
    first, later = (Message(role="developer", content=text) for text in ("A.", "B."))
    found = turn(first, USER, later, instructions="I.").conversation
    assert found.instructions == "I.\n\nA."
    assert found.messages == (USER, later)


def test_tools_and_their_choice_reach_the_turn():
    choice = {"type": "function", "name": "f"}
    found = turn(tools=[FUNCTION], tool_choice=choice)
    assert found.tool_choice == "f"
    assert found.schema_paths["f"] == "tools[0].parameters"


def test_what_runs_here_reaches_the_turn_and_the_response():
    tools = [
        {"type": "browser_search"},
        {"type": "code_interpreter", "container": "cntr_1"},
        {"type": "mcp", "server_label": "post", "allowed_tools": ["send"], "headers": {"a": "b"}},
        {"type": "mcp", "server_label": "dead"},
        {"type": "mcp", "server_label": "other"},
        {"type": "mcp", "server_label": ["post"]},
        {"type": "image_generation"},
    ]
    found = parse(OFFER, tools=tools, include=[SOURCES, OUTPUTS, LOGPROBS])
    assert found.ignored == ("tools[4]", "tools[5]", "tools[6]")
    conversation = found.to_turn([USER], "2026-01-02").conversation
    assert conversation.builtins == ("browser", "python")
    assert [(each.name, each.description) for each in conversation.namespaces] == [
        ("post", "Mail.")
    ]
    settings = found.settings()
    assert settings.includes == {SOURCES, OUTPUTS}
    assert [tool["name"] for tool in settings.servers["post"].tools] == ["send"]
    assert settings.servers["post"].error is None
    assert settings.servers["dead"].error == "the server dead cannot be reached"
    assert settings.tools == [
        {"type": "web_search"},
        {"type": "code_interpreter", "container": {"type": "auto"}},
        {"type": "mcp", "server_label": "post", "allowed_tools": ["send"]},
        {"type": "mcp", "server_label": "dead"},
    ]
    strictly(settings)


def test_what_holds_for_calls_reaches_the_turn_and_the_response():
    wanted = {"always": {"tool_names": ["send"]}}
    tools = [{"type": "mcp", "server_label": "post", "require_approval": wanted}]
    found = parse(OFFER, tools=tools, max_tool_calls=2)
    policy = found.to_turn([USER], "2026-01-02").tool_policy
    assert (policy.max_calls, policy.require_approval) == (2, ("post.send",))
    assert policy.pause_for_approval == ("post.send",)
    settings = found.settings()
    assert (settings.max_tool_calls, settings.tools) == (2, tools)
    strictly(settings)


def test_a_call_that_is_allowed_needs_its_tool_and_one_that_is_not_needs_none():
    call = Message(role="assistant", channel="commentary", recipient="post.send", content="{}")
    no = ApprovalDecision(call=call, call_id="call_1", allows=False)
    assert parse().to_turn([USER], "2026-01-02", no).tool_policy.decision == no
    yes = replace(no, allows=True)
    tools = [{"type": "mcp", "server_label": "post"}]
    assert parse(OFFER, tools=tools).to_turn([USER], "2026-01-02", yes).tool_policy.decision == yes
    with pytest.raises(RequestError) as found:
        parse().to_turn([USER], "2026-01-02", yes)
    assert (found.value.param, found.value.code) == ("tools", "tool_unavailable")


@pytest.mark.parametrize(
    ("choice", "echoed"),
    [
        ({"type": "web_search"}, {"type": "web_search_preview"}),
        ({"type": "code_interpreter"}, {"type": "code_interpreter"}),
        ({"type": "mcp", "server_label": "post"}, {"type": "mcp", "server_label": "post"}),
    ],
)
def test_a_choice_of_what_runs_here_is_said_back_in_openais_words(choice, echoed):
    tools = [{"type": "web_search"}, {"type": "code_interpreter"}]
    tools.append({"type": "mcp", "server_label": "post"})
    settings = parse(OFFER, tools=tools, tool_choice=choice).settings()
    assert settings.tool_choice == echoed
    strictly(settings)


def test_who_may_not_have_tools_run_is_told_so():
    form = parse_body(b'{"input": "hi", "tools": [{"type": "web_search"}]}', CreateRequest)
    with pytest.raises(Forbidden):
        ParsedResponseRequest.of(form, served_model(), OFFER)
    assert ParsedResponseRequest.of(form, served_model()).ignored == ("tools[0]",)


def test_a_schema_binds_the_answer_and_is_told_to_the_model():
    shape = {"type": "json_schema", "name": "n", "schema": SCHEMA, "description": "d"}
    found = turn(text={"format": shape})
    assert (found.answer.schema, found.answer.strict) == (SCHEMA, True)
    (response_format,) = found.conversation.response_formats
    assert (response_format.name, response_format.schema, response_format.description) == (
        "n",
        SCHEMA,
        "d",
    )
    assert found.schema_paths == {"": "text.format.schema"}


def test_json_is_any_object_and_text_is_any_text():
    assert turn(text={"format": {"type": "json_object"}}).answer.schema == {"type": "object"}
    assert turn(text={"format": {"type": "text"}}).answer is None
    assert turn(text={}).answer is None


def test_a_schema_need_not_be_strict():
    shape = {"type": "json_schema", "name": "n", "schema": SCHEMA, "strict": False}
    assert not turn(text={"format": shape}).answer.strict


@pytest.mark.parametrize(
    ("shape", "code"),
    [
        ({"type": "json_schema", "name": "n"}, "missing_field"),
        ({"type": "json_schema", "schema": {"x": "y" * 70_000}}, "invalid_json_schema"),
    ],
)
def test_a_schema_that_is_none_is_named_by_its_path(shape, code):
    found = refused(text={"format": shape})
    assert (found.param, found.code) == ("text.format.schema", code)


@pytest.mark.parametrize(
    ("fields", "num"),
    [
        ({}, None),
        ({"include": [ENCRYPTED]}, None),
        ({"include": [LOGPROBS]}, 0),
        ({"top_logprobs": 3}, 3),
        ({"top_logprobs": 0}, None),
    ],
)
def test_logprobs_are_given_when_asked_for_either_way(fields, num):
    assert turn(**fields).params.logprobs == num
    assert parse(**fields).settings().include_logprobs == (num is not None)


def test_what_has_no_effect_is_named():
    found = parse(
        include=[ENCRYPTED, "file_search_call.results"],
        tools=[FUNCTION, {"type": "mcp"}],
        reasoning={"summary": "auto"},
        service_tier="flex",
        colour="red",
    )
    assert set(found.ignored) == {
        "tools[1]", "include[1]", "reasoning.summary", "service_tier", "colour",
    }  # fmt: skip


def test_the_response_says_back_every_setting_in_openais_types():
    namespace = {"type": "namespace", "name": "crm", "tools": [FUNCTION, {"type": "mcp"}]}
    custom = {"type": "custom", "name": "p", "format": {"type": "text"}}
    settings = parse(
        instructions="I.",
        tools=[FUNCTION, custom, {"type": "mcp"}, namespace],
        tool_choice={"type": "function", "function": {"name": "f"}},
        temperature=0,
        top_p=0.5,
        top_logprobs=2,
        max_output_tokens=9,
        parallel_tool_calls=False,
        truncation="auto",
        store=False,
        metadata={"a": "b"},
        user="u",
        seed=3,
        stop="x",
        reasoning={"effort": "none", "summary": "auto", "max_tokens": 4},
        text={
            "format": {
                "type": "json_schema", "name": "n", "schema": SCHEMA, "description": "d",
            },
            "verbosity": "low",
        },
    ).settings()  # fmt: skip
    echoed = ResponseWriter(settings).response
    assert [tool["type"] for tool in echoed["tools"]] == ["function", "custom", "namespace"]
    assert echoed["tools"][0]["strict"] is False
    assert [tool["name"] for tool in echoed["tools"][2]["tools"]] == ["f"]
    assert echoed["tool_choice"] == {"type": "function", "name": "f"}
    assert (echoed["seed"], echoed["stop"], echoed["temperature"]) == (3, "x", 0)
    assert echoed["reasoning"] == {"effort": "none", "summary": "auto", "max_tokens": 4}
    assert echoed["text"]["format"]["schema"] == SCHEMA
    assert echoed["store"] is False
    strictly(settings)


@pytest.mark.parametrize("shape", ["text", "json_object"])
def test_a_plain_request_says_plain_settings(shape):
    settings = parse(text={"format": {"type": shape}}, tool_choice="none").settings()
    assert settings.text == {"format": {"type": shape}}
    assert settings.tool_choice == "none"
    assert parse().settings().text == {"format": {"type": "text"}}
    strictly(settings)


def test_a_schema_without_a_description_says_none():
    settings = parse(text={"format": {"type": "json_schema", "schema": SCHEMA}}).settings()
    assert settings.text["format"].keys() == {"type", "name", "schema", "strict"}
    strictly(settings)
