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
ORDER = re.compile(
    "created (in_progress |queued (in_progress )?)"
    f"(({MESSAGE})|({REASONING})|({FUNCTION})|({CUSTOM}))*"
    "(completed |incomplete |failed )"
)
BODIES = {
    "message": "text",
    "reasoning": "text",
    "function_call": "arguments",
    "custom_tool_call": "input",
}
TYPES = {kind.model_fields["type"].annotation.__args__[0]: kind
         for kind in get_args(get_args(ResponseStreamEvent)[0])}  # fmt: skip
MORE = {
    "Response": {"store", "seed"},
    "ResponseCustomToolCall": {"status"},
    "ResponseFunctionCallArgumentsDoneEvent": {"name"},
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
            body = BODIES[first["type"]]
            assert first["status"] == "in_progress"
            assert first.get("content", []) == []
            assert first.get(body, "") == ""
        if "output_index" in event:
            assert event["output_index"] == len(done)
            assert event.get("item_id", first["id"]) == first["id"]
            assert event.get("content_index", 0) == 0
            assert event.get(body, pieces) == pieces
            assert event.get("part", {}).get("text", "") in ("", pieces)
        if event["type"].endswith(".delta"):
            assert event["delta"] or event["logprobs"]
            pieces += event["delta"]
            logprobs += event.get("logprobs", [])
        if "annotation" in event:
            assert event["annotation_index"] == len(notes)
            notes.append(event["annotation"])
        if event["type"] == "response.output_item.done":
            _check_done(event["item"], first, pieces, notes, logprobs)
            done.append(event["item"])
    assert len({item["id"] for item in done}) == len(done)
    return done


def _check_done(item, first, pieces, notes, logprobs):
    kept = ("id", "type", "role", "phase", "call_id", "name", "namespace", "summary")
    assert all(item.get(name) == first.get(name) for name in kept)
    assert item["status"] in ("completed", "incomplete")
    if "content" not in item:
        assert item[BODIES[item["type"]]] == pieces
        return
    [content] = item["content"]
    assert content["text"] == pieces
    assert content.get("annotations", []) == notes
    assert content.get("logprobs", []) == logprobs
