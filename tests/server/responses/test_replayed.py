import json

import pytest

from ossia.errors import RequestError
from ossia.server.responses.items import References, read_items
from ossia.server.responses.replayed import LOST, TOOL_ITEMS

KEYS = ("id", "action", "code", "outputs", "results")
KEYS += ("server_label", "name", "arguments", "output", "error")


def read(item):
    [said] = read_items([item], References()).said
    return said


def refused(item):
    with pytest.raises(RequestError) as found:
        read(item)
    return found.value


def search(**action):
    return {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": action}


def code(**more):
    return {"type": "code_interpreter_call", "id": "ci_1", "container_id": "c", **more}


def sent(**more):
    names = {"server_label": "post", "name": "send", "arguments": "{}"}
    return {"type": "mcp_call", "id": "mcp_1", **names, **more}


@pytest.mark.parametrize(
    ("action", "recipient", "asked"),
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
def test_a_search_is_a_call_of_the_browser(action, recipient, asked):
    said = read(search(**action))
    assert (said.message.recipient, said.message.channel) == (recipient, "analysis")
    assert json.loads(said.message.text) == asked
    assert said.item_id == "ws_1"
    assert (said.result.name, said.result.channel) == (recipient, "analysis")
    assert said.result.text == LOST


def test_a_searchs_results_are_what_the_item_holds():
    source = [{"type": "url", "url": "https://a.b"}, {"url": 3}, "odd"]
    item = search(type="search", query="owls", sources=source)
    assert read(item).result.text == "https://a.b"
    assert read({**item, "results": [{"type": "text", "text": "Owls."}]}).result.text == "Owls."


def test_code_is_a_call_of_python_with_its_logs():
    said = read(code(code="2+2", outputs=[{"type": "logs", "logs": "4"}]))
    assert (said.message.recipient, said.message.content_type) == ("python", "code")
    assert (said.message.text, said.result.text) == ("2+2", "4")
    lost = read(code(code=None, outputs=None))
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
    said = read(sent(**more))
    assert (said.message.recipient, said.message.channel) == ("post.send", "commentary")
    assert said.result.text == text


def test_what_a_server_lists_says_nothing():
    listed = {"type": "mcp_list_tools", "id": "mcpl_1", "server_label": "post", "tools": []}
    spoken = read_items([listed], References())
    assert (spoken.said, spoken.ignored) == ((), ())


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
def test_a_fault_is_named_by_its_path(item, param):
    assert refused(item).param == param


@pytest.mark.parametrize("kind", sorted(TOOL_ITEMS))
@pytest.mark.parametrize("junk", [None, "x", 3, [], {}, [None], {"type": []}])
def test_no_item_does_worse_than_being_refused(kind, junk):
    for key in KEYS:
        whole = {**search(type="search"), **code(), **sent(), "type": kind, key: junk}
        found = None
        try:
            read(whole)
        except RequestError as error:
            found = error
        assert found is None or found.param.startswith("input[0]")


def test_an_item_without_an_id_has_none():
    assert read({**search(type="search"), "id": ""}).item_id is None
