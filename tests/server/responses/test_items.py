import json
from typing import get_args, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.responses import ResponseInputItemParam

from ossia.errors import RequestError
from ossia.harmony.messages import Message
from ossia.server.api.errors import NotFound
from ossia.server.api.history import HistoryMessage
from ossia.server.responses.items import (
    INPUT_ITEMS,
    LOST,
    SKIPPED,
    TOOL_ITEMS,
    References,
    lost_calls,
    read_items,
    references,
)

KEYS = ("id", "action", "code", "outputs", "results")
KEYS += ("server_label", "name", "arguments", "output", "error")
CALL = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}", "id": "fc_1"}
OUTPUT = {"type": "function_call_output", "call_id": "c1", "output": "sunny"}
WRITTEN = HistoryMessage(
    message=Message(
        role="assistant",
        channel="analysis",
        recipient="functions.f",
        content="{}",
        sampled_ids=(1, 2),
    ),
    item_id="fc_1",
    call_id="c1",
)


def read(*items, **before):
    return read_items(items, References(**before))


def messages(*items, **before):
    return [one.message for one in read(*items, **before).history]


def refused(*items, **before):
    with pytest.raises((RequestError, NotFound)) as found:
        read_items(items, References(**before))
    return found.value


@pytest.mark.parametrize(
    ("role", "ours"), [("user", "user"), ("developer", "developer"), ("system", "developer")]
)
def test_system_and_developer_are_one_wherever_they_stand(role, ours):
    found = messages({"role": "user", "content": "a"}, {"role": role, "content": "b"})
    assert found[1] == Message(role=ours, content="b")


def test_parts_are_joined():
    parts = [{"type": "input_text", "text": "a"}, {"type": "text", "text": "b"}]
    assert messages({"type": "message", "role": "user", "content": parts})[0].content == "ab"


@pytest.mark.parametrize(
    ("phase", "channel"),
    [(None, "final"), ("final_answer", "final"), ("commentary", "commentary")],
)
def test_the_phase_of_an_assistant_message_is_its_channel(phase, channel):
    parts = [{"type": "output_text", "text": "a", "annotations": []}]
    item = {"role": "assistant", "content": parts, "phase": phase, "id": "msg_1"}
    (one,) = read(item).history
    assert (one.message.channel, one.message.content, one.item_id) == (channel, "a", "msg_1")


def test_a_refusal_is_text():
    parts = [{"type": "refusal", "refusal": "no"}]
    assert messages({"role": "assistant", "content": parts})[0].content == "no"


def test_an_empty_assistant_message_is_nothing():
    assert messages({"role": "assistant", "content": ""}) == []


class TestReasoning:
    def test_is_kept_with_its_seal_its_id_and_its_words(self):
        content = [{"type": "reasoning_text", "text": "hm"}]
        item = {"type": "reasoning", "id": "rs_1", "summary": [], "content": content}
        (one,) = read({**item, "encrypted_content": "xyz"}).history
        assert one.message == Message(role="assistant", channel="analysis", content="hm")
        assert (one.item_id, one.encrypted_content) == ("rs_1", "xyz")

    def test_may_have_lost_its_words(self):
        (one,) = read({"type": "reasoning", "summary": [], "encrypted_content": "xyz"}).history
        assert (one.message.content, one.item_id, one.encrypted_content) == ("", None, "xyz")

    def test_that_says_nothing_is_skipped_and_named(self):
        found = read({"role": "user", "content": "a"}, {"type": "reasoning", "summary": []})
        assert len(found.history) == 1
        assert found.ignored == ("input[1]",)


class TestCalls:
    def test_go_to_a_function_and_come_back_from_it(self):
        call, output = read(CALL, OUTPUT).history
        assert call.message == Message(
            role="assistant",
            channel="commentary",
            recipient="functions.f",
            content_type="json",
            content="{}",
        )
        assert (call.call_id, call.item_id) == ("c1", "fc_1")
        assert output.message == Message(
            role="tool", name="functions.f", channel="commentary", content="sunny"
        )
        assert output.call_id == "c1"

    def test_of_custom_tools_are_plain_text(self):
        call = {"type": "custom_tool_call", "call_id": "c", "name": "patch", "input": "*** Begin"}
        parts = [{"type": "input_text", "text": "done"}]
        output = {"type": "custom_tool_call_output", "call_id": "c", "output": parts}
        made, came = messages(call, output)
        assert (made.recipient, made.content_type, made.content) == (
            "functions.patch", None, "*** Begin",
        )  # fmt: skip
        assert (came.name, came.content) == ("functions.patch", "done")

    def test_in_a_namespace_have_their_joined_name(self):
        (one,) = messages({**CALL, "namespace": "crm"})
        assert one.recipient == "functions.crm__f"

    def test_of_an_earlier_response_are_known(self):
        (one,) = messages(OUTPUT, recipients={"c1": "functions.g"})
        assert one.name == "functions.g"

    def test_that_the_client_lost_are_put_back_once(self):
        found = read(OUTPUT, OUTPUT, calls={"c1": WRITTEN}).history
        assert [one.message.role for one in found] == ["assistant", "tool", "tool"]
        assert found[0] == WRITTEN

    def test_that_nobody_made_have_no_output(self):
        found = refused(CALL, {**OUTPUT, "call_id": "c2"})
        assert found.param == "input[1].call_id"

    def test_lost_ones_are_those_without_a_call(self):
        assert lost_calls([CALL, OUTPUT, {**OUTPUT, "call_id": "c2"}]) == ["c2"]
        assert lost_calls([{**OUTPUT, "call_id": []}, {"call_id": {}}]) == []


class TestReferences:
    def test_stand_for_what_was_written(self):
        item = {"type": "item_reference", "id": "fc_1"}
        assert read(item, OUTPUT, items={"fc_1": WRITTEN}).history[0] == WRITTEN

    def test_to_a_thought_make_no_call_known(self):
        thought = HistoryMessage(message=Message(role="assistant", channel="analysis", content="x"))
        assert read({"id": "rs_1"}, items={"rs_1": thought}).history == (thought,)

    def test_may_come_without_a_type(self):
        assert references([{"id": "a"}, {"id": "a", "type": "item_reference"}, {"id": 3}]) == ["a"]

    @pytest.mark.parametrize("item_id", ["rs_9", None, 3, []])
    def test_to_nothing_are_not_found(self, item_id):
        found = refused({"type": "item_reference", "id": item_id})
        assert (found.status, found.param) == (404, "input[0].id")


@pytest.mark.parametrize("kind", sorted(SKIPPED))
def test_types_without_a_meaning_here_are_skipped_and_named(kind):
    assert read({"type": kind}, {"role": "user", "content": "a"}).ignored == ("input[0]",)


def test_every_type_of_openais_package_is_known():
    kinds = set()
    for member in get_args(ResponseInputItemParam):
        kinds |= set(literals(get_type_hints(member, include_extras=False)["type"]))
    assert kinds <= INPUT_ITEMS.keys() | SKIPPED


def literals(hint):
    """The words in a Literal, through Required and Optional."""
    for inner in get_args(hint):
        if isinstance(inner, str):
            yield inner
        else:
            yield from literals(inner)


@pytest.mark.parametrize(
    ("item", "param", "code"),
    [
        ({"type": "of_2031"}, "input[0].type", "invalid_value"),
        ({"type": 3}, "input[0].type", "invalid_value"),
        ({"type": []}, "input[0].type", "invalid_value"),
        ({}, "input[0].type", "invalid_value"),
        ({"role": "tool", "content": "x"}, "input[0].role", "invalid_value"),
        ({"role": []}, "input[0].role", "invalid_value"),
        ({"role": "user"}, "input[0].content", "missing_field"),
        ({"role": "user", "content": 3}, "input[0].content", "invalid_value"),
        ({"role": "user", "content": ["x"]}, "input[0].content[0]", "invalid_value"),
        ({"role": "user", "content": ["x"] * 1001}, "input[0].content", "invalid_value"),
        (
            {"role": "user", "content": [{"type": "input_image", "image_url": "http://x"}]},
            "input[0].content[0].type",
            "invalid_value",
        ),
        (
            {"role": "user", "content": [{"type": "input_text"}]},
            "input[0].content[0].text",
            "missing_field",
        ),
        (
            {"role": "user", "content": [{"type": "refusal", "refusal": 3}]},
            "input[0].content[0].refusal",
            "invalid_value",
        ),
        ({"type": "reasoning", "content": 3}, "input[0].content", "invalid_value"),
        ({**CALL, "call_id": None}, "input[0].call_id", "missing_field"),
        ({**CALL, "call_id": 3}, "input[0].call_id", "invalid_value"),
        ({**CALL, "name": "f to=functions.g"}, "input[0].name", "invalid_value"),
        ({**CALL, "name": "a.b"}, "input[0].name", "invalid_value"),
        ({**CALL, "arguments": {}}, "input[0].arguments", "invalid_value"),
        ({**OUTPUT, "call_id": None}, "input[0].call_id", "missing_field"),
    ],
)
def test_a_fault_is_named_by_its_path(item, param, code):
    found = refused(item)
    assert (found.param, found.code) == (param, code)


def test_an_output_needs_a_text():
    assert refused(CALL, {**OUTPUT, "output": None}).param == "input[1].output"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "role", "content", "text", "id", "call_id", "output", "name"]),
            inner | st.sampled_from(sorted(INPUT_ITEMS)) | st.sampled_from(["user", "input_text"]),
            max_size=5,
        )
    ),
    max_leaves=12,
)


@pytest.mark.slow
@settings(max_examples=60)
@given(st.lists(st.dictionaries(st.text(max_size=6), JSON, max_size=4) | JSON, max_size=4))
def test_no_input_does_worse_than_being_refused(items):
    items = [item for item in items if isinstance(item, dict)]
    found = None
    try:
        lost_calls(items)
        references(items)
        read_items(items, References())
    except (RequestError, NotFound) as error:
        found = error
    assert found is None or found.param


def read_one(item):
    [recorded] = read_items([item], References()).history
    return recorded


def refusal(item):
    with pytest.raises(RequestError) as found:
        read_one(item)
    return found.value


def search(**action):
    return {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": action}


def code(**more):
    return {"type": "code_interpreter_call", "id": "ci_1", "container_id": "c", **more}


def sent(**more):
    names = {"server_label": "post", "name": "send", "arguments": "{}"}
    return {"type": "mcp_call", "id": "mcp_1", **names, **more}


@pytest.mark.parametrize(
    ("action", "recipient", "arguments"),
    [
        ({"type": "search", "query": "owls"}, "browser.search", {"query": "owls"}),
        ({"type": "search"}, "browser.search", {"query": ""}),
        ({"type": "search", "queries": ["a", 3, "b"]}, "browser.search", {"query": "a; b"}),
        ({"type": "open_page", "url": "u"}, "browser.open", {"id": "u"}),
        ({"type": "open_page", "url": None}, "browser.open", {}),
        ({"type": "find_in_page", "url": "u", "pattern": "p"}, "browser.find", {"pattern": "p"}),
        ({}, "browser.search", {"query": ""}),
    ],
)
def test_a_search_is_a_call_of_the_browser(action, recipient, arguments):
    recorded = read_one(search(**action))
    assert (recorded.message.recipient, recorded.message.channel) == (recipient, "analysis")
    assert json.loads(recorded.message.text) == arguments
    assert recorded.item_id == "ws_1"
    assert (recorded.result.name, recorded.result.channel) == (recipient, "analysis")
    assert recorded.result.text == LOST


def test_a_searchs_results_are_what_the_item_holds():
    source = [{"type": "url", "url": "https://a.b"}, {"url": 3}, "odd"]
    item = search(type="search", query="owls", sources=source)
    assert read_one(item).result.text == "https://a.b"
    assert read_one({**item, "results": [{"type": "text", "text": "Owls."}]}).result.text == "Owls."


def test_code_is_a_call_of_python_with_its_logs():
    recorded = read_one(code(code="2+2", outputs=[{"type": "logs", "logs": "4"}]))
    assert (recorded.message.recipient, recorded.message.content_type) == ("python", "code")
    assert (recorded.message.text, recorded.result.text) == ("2+2", "4")
    lost = read_one(code(code=None, outputs=None))
    assert (lost.message.text, lost.result.text) == ("", LOST)


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"output": "Sent."}, "Sent."),
        ({"error": "No box."}, "No box."),
        ({"error": {"type": "http_error", "code": 500, "message": "Down."}}, "Down."),
        (
            {"error": {"type": "mcp_tool_execution_error", "content": [{"text": "No box."}]}},
            "No box.",
        ),
        ({"error": {"message": 3}}, LOST),
        ({}, LOST),
    ],
)
def test_a_call_of_a_server_has_its_output_or_its_error(more, text):
    recorded = read_one(sent(**more))
    assert (recorded.message.recipient, recorded.message.channel) == ("post.send", "commentary")
    assert recorded.result.text == text


def test_what_a_server_lists_says_nothing():
    listed = {"type": "mcp_list_tools", "id": "mcpl_1", "server_label": "post", "tools": []}
    parsed = read_items([listed], References())
    assert (parsed.history, parsed.ignored) == ((), ())


@pytest.mark.parametrize(
    ("item", "param"),
    [
        ({"type": "web_search_call"}, "input[0].action"),
        (sent(name=None), "input[0].name"),
        (sent(server_label=3), "input[0].server_label"),
        (sent(arguments={}), "input[0].arguments"),
        (sent(name="a b"), "input[0].name"),
        (sent(name="x.y"), "input[0].name"),
    ],
)
def test_a_fault_in_a_tool_item_is_named_by_its_path(item, param):
    assert refusal(item).param == param


@pytest.mark.parametrize("kind", sorted(TOOL_ITEMS))
@pytest.mark.parametrize("junk", [None, "x", 3, [], {}, [None], {"type": []}])
def test_no_item_does_worse_than_being_refused(kind, junk):
    for key in KEYS:
        whole = {**search(type="search"), **code(), **sent(), "type": kind, key: junk}
        found = None
        try:
            read_one(whole)
        except RequestError as error:
            found = error
        assert found is None or found.param.startswith("input[0]")


def test_an_item_without_an_id_has_none():
    assert read_one({**search(type="search"), "id": ""}).item_id is None
