"""Chunks are legal for OpenAI's own client whatever the turn does, and add up to the answer."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from ossia.chat.events import Event, PartStarted, TextDelta, TokenLogprob, Usage
from ossia.server.chat_completions.writer import ChatFold, ChatSettings, ChatWriter
from tests.server.scripted import answer, call, finished, preamble, ran, thought


def settings(**changes: Any) -> ChatSettings:
    plain: dict[str, Any] = {
        "id": "chatcmpl-1",
        "created": 1_700_000_000,
        "model": "nano",
        "fingerprint": "fp_1",
    }
    return ChatSettings(**{**plain, **changes})


def written(*events: Event, **changes: Any) -> list[dict[str, Any]]:
    """Every chunk of an answer with one choice."""
    writer = ChatWriter(settings(**changes))
    chunks = writer.begin()
    for event in events:
        chunks += writer.push(0, event)
    return chunks + writer.end()


def folded(chunks: list[dict[str, Any]]) -> dict[str, Any]:
    fold = ChatFold()
    for chunk in chunks:
        fold.add(chunk)
    return fold.answer()


def deltas(chunks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [chunk["choices"][0]["delta"] for chunk in chunks if chunk["choices"]]


def message(*events: Event, **changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = folded(written(*events, **changes))["choices"][0]["message"]
    return found


def test_an_answer_is_a_role_its_pieces_and_an_end() -> None:
    chunks = written(*thought("hm", "!"), *answer("He", "llo"), *finished())
    assert deltas(chunks) == [
        {"role": "assistant"},
        {"reasoning": "hm"},
        {"reasoning": "!"},
        {"content": "He"},
        {"content": "llo"},
        {},
    ]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None] * 5 + ["stop"]


def test_every_chunk_says_what_it_belongs_to() -> None:
    for chunk in written(*answer("a"), *finished(), includes_usage=True):
        assert chunk["id"] == "chatcmpl-1"
        assert chunk["object"] == "chat.completion.chunk"
        assert chunk["created"] == 1_700_000_000
        assert chunk["model"] == "nano"
        assert chunk["system_fingerprint"] == "fp_1"


def test_a_call_opens_with_its_name_and_goes_on_under_its_index() -> None:
    events = [*call("f", '{"a"', ":1}"), *call("g", "{}", call_id="call_2")]
    assert deltas(written(*events, *finished("tool_calls")))[1:] == [
        {
            "tool_calls": [
                {
                    "index": 0,
                    "id": "call_1",
                    "type": "function",
                    "function": {"name": "f", "arguments": ""},
                }
            ]
        },
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"a"'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}}]},
        {
            "tool_calls": [
                {
                    "index": 1,
                    "id": "call_2",
                    "type": "function",
                    "function": {"name": "g", "arguments": ""},
                }
            ]
        },
        {"tool_calls": [{"index": 1, "function": {"arguments": "{}"}}]},
        {},
    ]


def test_calls_that_run_here_are_not_shown_and_all_else_goes_on_around_them() -> None:
    turn = [
        *thought("hm"),
        *preamble("First."),
        *ran("browser.search", '{"query":', '"owls"}', text="Owls."),
        *thought("So."),
        *ran("python", "2+2", fails=True),
        *ran("post.send", "{}"),
        *preamble("Then."),
        *call("f", "{}"),
    ]
    found = message(*turn, *finished("tool_calls"))
    assert found["content"] == "First.\n\nThen."
    assert found["reasoning"] == "hm\n\nSo."
    assert [each["function"]["name"] for each in found["tool_calls"]] == ["f"]
    indices = [
        each["tool_calls"][0]["index"] for each in deltas(written(*turn)) if "tool_calls" in each
    ]
    assert set(indices) == {0}
    assert message(*turn[:-4], *answer("4."), *finished())["content"] == "First.\n\nThen.\n\n4."
    assert "tool_calls" not in message(*ran("python", "2"), *finished())


def test_a_function_of_the_callers_called_python_is_shown() -> None:
    found = message(*call("python", "{}"), *finished("tool_calls"), kinds={"python": "function"})
    assert [each["function"]["name"] for each in found["tool_calls"]] == ["python"]


def test_a_custom_tool_is_called_with_input() -> None:
    chunks = written(
        *call("patch", "*** Be", "gin"), *finished("tool_calls"), kinds={"patch": "custom"}
    )
    assert deltas(chunks)[1:3] == [
        {
            "tool_calls": [
                {
                    "index": 0,
                    "id": "call_1",
                    "type": "custom",
                    "custom": {"name": "patch", "input": ""},
                }
            ]
        },
        {"tool_calls": [{"index": 0, "custom": {"input": "*** Be"}}]},
    ]
    whole = folded(chunks)["choices"][0]["message"]["tool_calls"]
    assert whole == [
        {"id": "call_1", "type": "custom", "custom": {"name": "patch", "input": "*** Begin"}}
    ]
    ChatCompletion.model_validate(folded(chunks), strict=True)


def test_a_preamble_and_the_answer_share_content_with_a_blank_line_between() -> None:
    events = [*preamble("First", "."), *preamble("", "Then."), *answer("", "So."), *finished()]
    assert message(*events)["content"] == "First.\n\nThen.\n\nSo."


def test_before_a_json_answer_preambles_are_reasoning() -> None:
    found = message(*thought("hm"), *preamble("Now."), *answer("{}"), *finished(), is_json=True)
    assert (found["reasoning"], found["content"]) == ("hm\n\nNow.", "{}")


def test_hidden_reasoning_leaves_no_trace() -> None:
    events = [*thought("hm"), *preamble("Now."), *answer("{}"), *finished()]
    assert "reasoning" not in json.dumps(written(*events, shows_reasoning=False))
    assert "Now." not in json.dumps(written(*events, shows_reasoning=False, is_json=True))


def test_an_answer_without_reasoning_has_no_such_field() -> None:
    assert message(*answer("a"), *finished()) == {
        "role": "assistant",
        "content": "a",
        "refusal": None,
    }


def test_only_calls_leave_content_null() -> None:
    found = message(*thought("hm"), *call("f", "{}"), *finished("tool_calls"))
    assert found == {
        "role": "assistant",
        "content": None,
        "refusal": None,
        "reasoning": "hm",
        "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        ],
    }


def test_a_cut_call_ends_with_length() -> None:
    choice = folded(written(*call("f", '{"a', is_whole=False), *finished("length")))["choices"][0]
    assert choice["finish_reason"] == "length"
    assert choice["message"]["tool_calls"][0]["function"]["arguments"] == '{"a'


def test_nothing_said_is_an_empty_text() -> None:
    assert message(*thought("h", is_whole=False), *finished("length"))["content"] == ""
    assert message(*finished("length"))["content"] == ""


def test_a_cancelled_turn_is_never_called_complete() -> None:
    assert folded(written(*finished("cancelled")))["choices"][0]["finish_reason"] == "length"


def test_usage_comes_last_and_only_if_asked_for() -> None:
    chunks = written(*answer("a"), *finished(), includes_usage=True)
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == {
        "prompt_tokens": 11,
        "completion_tokens": 7,
        "total_tokens": 18,
        "prompt_tokens_details": {"cached_tokens": 5},
        "completion_tokens_details": {"reasoning_tokens": 3},
    }
    assert all(chunk["usage"] is None for chunk in chunks[:-1])
    assert not any("usage" in chunk for chunk in written(*answer("a"), *finished()))


def test_usage_counts_the_prompt_once_and_every_choice() -> None:
    writer = ChatWriter(settings(num_choices=2, includes_usage=True))
    writer.push(0, finished()[0])
    writer.push(1, finished("stop", Usage(11, 100, 50, 11))[0])
    usage = writer.end()[0]["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (11, 107)
    assert usage["total_tokens"] == 118
    assert usage["prompt_tokens_details"]["cached_tokens"] == 5
    assert usage["completion_tokens_details"]["reasoning_tokens"] == 53


SCORED = TokenLogprob(
    "é", 5, -0.5, (TokenLogprob("é", 5, -0.5), TokenLogprob("e", 6, float("-inf")))
)


def test_logprobs_stand_beside_their_text_with_bytes() -> None:
    chunks = written(*answer(("é", (SCORED,)), "!"), *finished())
    expected = {
        "token": "é",
        "bytes": [195, 169],
        "logprob": -0.5,
        "top_logprobs": [
            {"token": "é", "bytes": [195, 169], "logprob": -0.5},
            {"token": "e", "bytes": [101], "logprob": -9999.0},
        ],
    }
    assert chunks[1]["choices"][0]["logprobs"] == {"content": [expected], "refusal": None}
    assert chunks[2]["choices"][0]["logprobs"] is None
    assert folded(chunks)["choices"][0]["logprobs"] == {"content": [expected], "refusal": None}


def test_logprobs_of_a_token_without_text_yet_are_not_lost() -> None:
    events = [PartStarted("final"), TextDelta("", (SCORED,)), TextDelta("é", (SCORED,))]
    assert len(folded(written(*events, *finished()))["choices"][0]["logprobs"]["content"]) == 2


def test_metadata_comes_back_if_there_was_any() -> None:
    fold = ChatFold()
    for chunk in written(*answer("a"), *finished()):
        fold.add(chunk)
    assert fold.answer({"a": "b"})["metadata"] == {"a": "b"}
    assert "metadata" not in fold.answer()


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
PIECES = st.lists(TEXTS, max_size=4)
LOGPROBS = st.lists(
    st.builds(
        TokenLogprob,
        TEXTS,
        st.integers(0, 99),
        st.floats(max_value=0, allow_nan=False),
        st.lists(
            st.builds(TokenLogprob, TEXTS, st.integers(0, 99), st.floats(-1e300, 0)), max_size=2
        ).map(tuple),
    ),
    max_size=2,
).map(tuple)


@st.composite
def turns(draw: st.DrawFn) -> list[Event]:
    """A turn as the engine may tell it: thoughts, preambles, calls, an answer, cut anywhere."""
    events: list[Event] = []
    for _ in range(draw(st.integers(0, 3))):
        kind = draw(st.sampled_from([thought, preamble]))
        events += kind(*draw(PIECES))
    for _ in range(draw(st.integers(0, 2))):
        name = draw(st.sampled_from(["python", "browser.search", "post.send"]))
        ours = ran(name, *draw(PIECES), fails=draw(st.booleans()))
        events += [*ours[: draw(st.sampled_from([-1, len(ours)]))], *thought(*draw(PIECES))]
    for number in range(draw(st.integers(0, 3))):
        name = draw(st.sampled_from(["f", "g"]))
        events += call(name, *draw(PIECES), call_id=f"call_{number}")
    if draw(st.booleans()):
        events += answer(*draw(st.lists(st.tuples(TEXTS, LOGPROBS), max_size=4)))
    if draw(st.booleans()):
        events = events[: draw(st.integers(0, len(events)))]
    return events + finished(draw(st.sampled_from(["stop", "length", "tool_calls", "cancelled"])))


SETTINGS = st.fixed_dictionaries(
    {"includes_usage": st.booleans(), "shows_reasoning": st.booleans(), "is_json": st.booleans()}
)


def interleaved(draw: st.DrawFn, scripts: list[list[Event]]) -> list[tuple[int, Event]]:
    order = draw(st.permutations([i for i, each in enumerate(scripts) for _ in each]))
    left = [iter(each) for each in scripts]
    return [(index, next(left[index])) for index in order]


@given(st.data(), SETTINGS)
@examples(max_examples=50)
def test_any_turns_are_legal_chunks_that_add_up_as_the_sdk_adds_them(
    data: st.DataObject, changes: dict[str, bool]
) -> None:
    scripts = data.draw(st.lists(turns(), min_size=1, max_size=3))
    writer = ChatWriter(settings(num_choices=len(scripts), **changes))
    chunks = writer.begin()
    for index, event in interleaved(data.draw, scripts):
        chunks += writer.push(index, event)
    chunks += writer.end()
    whole = folded(chunks)
    state: ChatCompletionStreamState[None] = ChatCompletionStreamState()
    for chunk in chunks:
        state.handle_chunk(
            ChatCompletionChunk.model_validate(json.loads(json.dumps(chunk)), strict=True)
        )
    ChatCompletion.model_validate(json.loads(json.dumps(whole)), strict=True)
    added = state.current_completion_snapshot
    assert len(whole["choices"]) == len(added.choices) == len(scripts)
    for ours, theirs in zip(whole["choices"], added.choices, strict=True):
        assert ours["finish_reason"] == theirs.finish_reason
        assert (ours["message"]["content"] or "") == (theirs.message.content or "")
        assert ours["message"].get("reasoning") == (theirs.message.model_extra or {}).get(
            "reasoning"
        )
        calls = [each.model_dump(exclude={"index"}) for each in theirs.message.tool_calls or []]
        for each in calls:
            each["function"].pop("parsed_arguments", None)
        assert ours["message"].get("tool_calls", []) == [
            {name: value for name, value in each.items() if name != "index"} for each in calls
        ]
        assert len((ours["logprobs"] or {"content": []})["content"]) == len(
            (theirs.logprobs.content if theirs.logprobs else None) or []
        )


@given(turns())
def test_what_is_said_is_what_the_turn_said(events: list[Event]) -> None:
    found = message(*events)
    thoughts = "".join(each.text for each in events if type(each).__name__ == "ReasoningDelta")
    assert found.get("reasoning", "").replace("\n\n", "") == thoughts.replace("\n\n", "")


@pytest.mark.parametrize("num_choices", [1, 8])
def test_every_choice_begins_in_order(num_choices: int) -> None:
    chunks = ChatWriter(settings(num_choices=num_choices)).begin()
    assert [chunk["choices"][0]["index"] for chunk in chunks] == list(range(num_choices))
