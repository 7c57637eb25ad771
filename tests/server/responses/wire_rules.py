"""The rules of a stream of the Responses API, written down a second time, apart from the writer."""

import json
import re
from typing import get_args

from openai import omit
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import ResponseStreamEvent
from pydantic import BaseModel

MESSAGE = (
    "output_item.added content_part.added "
    "(output_text.delta (output_text.annotation.added )*)*"
    "output_text.done content_part.done output_item.done "
)
REASONING = (
    "output_item.added content_part.added (reasoning_text.delta )*"
    "reasoning_text.done content_part.done output_item.done "
)
FUNCTION = (
    "output_item.added (function_call_arguments.delta )*"
    "function_call_arguments.done output_item.done "
)
CUSTOM = (
    "output_item.added (custom_tool_call_input.delta )*"
    "custom_tool_call_input.done output_item.done "
)
SEARCH = (
    "output_item.added web_search_call.in_progress "
    "(web_search_call.searching (web_search_call.completed )?)?output_item.done "
)
PYTHON = (
    "output_item.added code_interpreter_call.in_progress (code_interpreter_call_code.delta )*"
    "code_interpreter_call_code.done "
    "(code_interpreter_call.interpreting (code_interpreter_call.completed )?)?output_item.done "
)
MCP = (
    "output_item.added mcp_call.in_progress (mcp_call_arguments.delta )*"
    "mcp_call_arguments.done mcp_call.(completed|failed) output_item.done "
)
LISTED = (
    "output_item.added mcp_list_tools.in_progress mcp_list_tools.(completed|failed) "
    "output_item.done "
)
APPROVAL = "output_item.added output_item.done "
ITEMS = "|".join(
    f"({item})"
    for item in (MESSAGE, REASONING, FUNCTION, CUSTOM, SEARCH, PYTHON, MCP, LISTED, APPROVAL)
)
ORDER = re.compile(
    f"created (in_progress |queued (in_progress )?)({ITEMS})*(completed |incomplete |failed )"
)
BODIES = {
    "message": "text",
    "reasoning": "text",
    "function_call": "arguments",
    "custom_tool_call": "input",
    "web_search_call": "",
    "code_interpreter_call": "code",
    "mcp_call": "arguments",
    "mcp_list_tools": "",
    "mcp_approval_request": "",
}
AT_ONCE = ("mcp_list_tools", "mcp_approval_request")
"""These have no status."""
RUN_HERE = ("web_search_call", "code_interpreter_call", "mcp_call")
TYPES = {kind.model_fields["type"].annotation.__args__[0]: kind
         for kind in get_args(get_args(ResponseStreamEvent)[0])}  # fmt: skip
MORE = {
    "Response": {"store", "seed"},
    "ResponseCustomToolCall": {"status"},
    "ResponseFunctionCallArgumentsDoneEvent": {"name"},
    "ResponseFunctionWebSearch": {"results"},
    "Logprob": {"bytes"},
    "LogprobTopLogprob": {"bytes"},
}
"""Fields that OpenAI's package does not name where we send them."""


def typed(event):
    """An event as OpenAI's package reads it, strictly."""
    return TYPES[event["type"]].model_validate_json(json.dumps(event), strict=True)


def unnamed(value):
    """Every field in a model that its type does not name, as (type, field)."""
    if isinstance(value, BaseModel):
        for field in value.model_extra or {}:
            yield type(value).__name__, field
        for field in type(value).model_fields:
            yield from unnamed(getattr(value, field))
    elif isinstance(value, list):
        for each in value:
            yield from unnamed(each)


def accumulated(events):
    """Let OpenAI's accumulator read a stream; it raises RuntimeError on what is not legal."""
    state = ResponseStreamState(input_tools=omit, text_format=omit)
    for event in events:
        state.handle_event(event)
    return state


def check(events):
    """Hold a stream to every rule; AssertionError names the first that is broken."""
    words = "".join(f"{event['type'].removeprefix('response.')} " for event in events)
    assert ORDER.fullmatch(words), words
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert not any("error" in event for event in events)
    _check_lives(events)
    done = _check_items(events)
    assert events[-1]["response"]["output"] == done
    _check_servers(done)


def _check_lives(events):
    lives = [event["response"] for event in events if "response" in event]
    assert len({(life["id"], life["created_at"]) for life in lives}) == 1
    for life in lives[:-1]:
        assert life["output"] == []
        assert life["usage"] is life["error"] is life["completed_at"] is None
    assert [life["status"] for life in lives[1:-1]] == [
        event["type"].removeprefix("response.") for event in events[1 : len(lives) - 1]
    ]
    last, name = lives[-1], events[-1]["type"].removeprefix("response.")
    assert last["status"] == name or (name, last["status"]) == ("incomplete", "cancelled")
    assert (last["error"] is not None) == (name == "failed")
    assert (last["completed_at"] is not None) == (name == "completed")
    assert (last["incomplete_details"] is not None) == (last["status"] == "incomplete")
    assert last["usage"]["total_tokens"] >= 0


def _check_items(events):
    done = []
    for event in events:
        if event["type"] == "response.output_item.added":
            first, pieces, notes, logprobs = event["item"], "", [], []
            ended = None
            body = BODIES[first["type"]]
            assert first.get("status", "in_progress") == "in_progress"
            assert first.get("tools", []) == []
            assert first.get("content", []) == []
            assert first.get(body, "") == ""
        if "output_index" in event:
            assert event["output_index"] == len(done)
            assert event.get("item_id", first["id"]) == first["id"]
            assert event.get("content_index", 0) == 0
            assert event.get(body, pieces) == pieces
            assert event.get("part", {}).get("text", "") in ("", pieces)
        if re.search(r"_(call|tools)\.(completed|failed)$", event["type"]):
            ended = event["type"].rpartition(".")[2]
        if event["type"].endswith(".delta"):
            assert event["delta"] or event["logprobs"]
            pieces += event["delta"]
            logprobs += event.get("logprobs", [])
        if "annotation" in event:
            assert event["annotation_index"] == len(notes)
            notes.append(event["annotation"])
        if event["type"] == "response.output_item.done":
            _check_done(event["item"], first, pieces, notes, logprobs)
            _check_ended(event["item"], ended)
            done.append(event["item"])
    assert len({item["id"] for item in done}) == len(done)
    return done


def _check_done(item, first, pieces, notes, logprobs):
    stable = ("id", "type", "role", "phase", "call_id", "name", "namespace", "summary")
    assert item.get("server_label") == first.get("server_label")
    assert all(item.get(name) == first.get(name) for name in stable)
    if item["type"] in AT_ONCE:
        assert item == first or item["type"] == "mcp_list_tools"
    else:
        failed = ("failed",) if item["type"] in RUN_HERE else ()
        assert item["status"] in ("completed", "incomplete", *failed)
    if "content" not in item:
        assert item.get(BODIES[item["type"]], "") == pieces
        return
    [content] = item["content"]
    assert content["text"] == pieces
    assert content.get("annotations", []) == notes
    assert content.get("logprobs", []) == logprobs


def _check_ended(item, word):
    """The event that tells how a tool fared says what its item says."""
    if item["type"] == "mcp_list_tools":
        assert word == ("failed" if "error" in item else "completed")
    elif item["type"] == "mcp_call":
        assert word == ("completed" if item["status"] == "completed" else "failed")
        assert (item["error"] is not None) == (item["status"] == "failed")
        assert (item["output"] is not None) == (item["status"] == "completed")
    else:
        is_done = item["type"] in RUN_HERE and item["status"] == "completed"
        assert word == ("completed" if is_done else None)


def _check_servers(done):
    """A server's tools are listed once, before the first call of one of them.

    A call that was decided on comes first of all: an earlier response listed the tools.
    """
    listed = []
    for item in done:
        if item["type"] == "mcp_list_tools":
            listed.append(item["server_label"])
        if item.get("approval_request_id"):
            assert item is done[0]
        elif item["type"] in ("mcp_call", "mcp_approval_request"):
            assert item["server_label"] in listed
    assert len(set(listed)) == len(listed)
