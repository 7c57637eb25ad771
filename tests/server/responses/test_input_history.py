import pytest
from openai.types.responses import ResponseItem
from pydantic import TypeAdapter

from ossia.errors import RequestError
from ossia.server.responses.input_history import list_items, page

ITEMS = [
    {"role": "user", "content": "a"},
    {"role": "system", "content": [{"type": "input_text", "text": "b"}], "id": "msg_7"},
    {"role": "user", "content": [{"type": "refusal", "refusal": "c"}]},
    {
        "type": "message",
        "role": "assistant",
        "phase": "commentary",
        "content": [{"type": "output_text", "text": "d"}, {"type": "refusal", "refusal": "e"}],
    },
    {"role": "assistant", "content": "f", "phase": "junk"},
    {"type": "reasoning", "content": "g", "encrypted_content": "x"},
    {"type": "reasoning", "content": [{"type": "text", "text": "h"}], "summary": "junk"},
    {"type": "reasoning", "encrypted_content": "y"},
    {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}", "namespace": "n"},
    {"type": "function_call_output", "call_id": "c", "output": "i"},
    {"type": "custom_tool_call", "call_id": "c", "name": "f", "input": "{}"},
    {
        "type": "custom_tool_call_output",
        "call_id": "c",
        "output": [{"type": "output_text", "text": "j"}],
    },
    {"type": "web_search_call", "id": "ws_1", "action": {"type": "open_page", "url": "u"}},
    {"type": "web_search_call", "action": {"type": "find_in_page", "url": 3}},
    {"type": "web_search_call", "action": {"sources": "junk"}},
    {"type": "code_interpreter_call", "code": "2+2", "outputs": "junk"},
    {"type": "mcp_call", "server_label": "post", "name": "send", "arguments": "{}", "error": 3},
    {"type": "mcp_list_tools", "server_label": "post", "tools": []},
    {"type": "item_reference", "id": "rs_1"},
    {"type": "compaction"},
]


@pytest.fixture
def found():
    return list_items(ITEMS, lambda prefix: f"{prefix}_new")


def test_every_item_is_one_of_openais(found):
    for item in found:
        TypeAdapter(ResponseItem).validate_python(item, strict=False)


def test_items_keep_their_ids_or_get_one_of_their_kind(found):
    assert [item["id"] for item in found] == [
        *("msg_new", "msg_7", "msg_new", "msg_new", "msg_new", "rs_new", "rs_new", "rs_new"),
        *("fc_new", "fco_new", "ctc_new", "ctco_new"),
        *("ws_1", "ws_new", "ws_new", "ci_new", "mcp_new"),
    ]


def test_calls_that_ran_here_are_listed_as_far_as_they_are_told(found):
    opened, searched_in, searched, code, sent = found[-5:]
    assert opened["action"] == {"type": "open_page", "url": "u"}
    assert searched_in["action"] == {"type": "find_in_page", "url": "", "pattern": ""}
    assert searched["action"] == {"type": "search", "query": ""}
    assert (code["code"], code["container_id"], code["outputs"]) == ("2+2", "", None)
    assert (sent["server_label"], sent["status"], "error" in sent) == ("post", "completed", False)


def test_texts_become_parts_of_their_kind(found):
    assert found[0]["content"] == [{"type": "input_text", "text": "a"}]
    assert found[2]["content"] == [{"type": "input_text", "text": "c"}]
    assert found[3]["content"][0] == {"type": "output_text", "text": "d", "annotations": []}
    assert found[3]["content"][1] == {"type": "refusal", "refusal": "e"}
    assert (found[3]["phase"], found[4].get("phase")) == ("commentary", None)
    assert found[5]["content"] == [{"type": "reasoning_text", "text": "g"}]
    assert found[6]["content"] == [{"type": "reasoning_text", "text": "h"}]
    assert found[9]["output"] == "i"
    assert found[11]["output"] == [{"type": "input_text", "text": "j"}]


def test_a_page_of_nothing_has_no_ends():
    assert page([], limit=3, order="asc", after=None) == {
        "object": "list", "data": [], "first_id": "", "last_id": "", "has_more": False,
    }  # fmt: skip


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("limit", [1, 2, 5, 9])
def test_pages_follow_each_other_without_a_gap(order, limit):
    items = [{"id": f"i{at}"} for at in range(5)]
    seen, after = [], None
    while True:
        one = page(items, limit=limit, order=order, after=after)
        seen += one["data"]
        if not one["has_more"]:
            break
        after = one["last_id"]
    assert seen == (items if order == "asc" else items[::-1])


def test_after_must_be_one_of_the_items():
    with pytest.raises(RequestError) as found:
        page([{"id": "a"}], limit=1, order="asc", after="b")
    assert found.value.param == "after"
