import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import Response

from ossia.chat.events import ArgumentsDelta, PartStarted, ReasoningDelta, TextDelta, TokenLogprob
from ossia.server.responses.citations import CitedPage
from ossia.server.responses.writer import ResponseWriter, fold
from tests.server.responses.turns import (
    SETTINGS,
    SOMETIME,
    USAGE,
    Counter,
    Later,
    finished,
    message,
    part,
    settings,
    turns,
)
from tests.server.responses.wire_rules import MORE, accumulated, check, typed, unnamed


def page(number, line=None):
    return None if number > 5 else CitedPage(f"https://a.b/{number}", "A", "a.b")


def a_writer(options=SETTINGS, **others):
    return ResponseWriter(options, new_id=Counter(), clock=lambda: SOMETIME, **others)


def write(turn, **others):
    """The events of a whole turn, and who wrote them."""
    writer = a_writer(**others)
    return writer.begin() + [out for event in turn for out in writer.push(event)], writer


def words(events):
    return [event["type"].removeprefix("response.") for event in events]


@st.composite
def streams(draw):
    """A stream of events with cuts, faults and cancels anywhere, and who wrote it."""
    sign_reference = draw(st.sampled_from([None, "sealed {}".format]))
    resolve = draw(st.sampled_from([None, page]))
    writer = a_writer(draw(settings()), sign_reference=sign_reference, resolve=resolve)
    turn = draw(turns())
    events = [*writer.begin(queued=True)] if draw(st.booleans()) else []
    if not events and draw(st.booleans()):
        events += writer.begin()
    if draw(st.booleans()):
        events += writer.start()
    end = draw(st.sampled_from(["whole", "fail", "cancel"]))
    at = len(turn) if end == "whole" else draw(st.integers(0, len(turn)))
    for event in turn[:at]:
        events += writer.push(event)
    if end == "fail":
        events += writer.fail("server_error", "it broke", 5)
    elif end == "cancel":
        events += writer.cancel()
    return events, writer


@given(streams())
def test_every_stream_keeps_every_rule(stream):
    events, writer = stream
    check(events)
    assert writer.is_over
    assert writer.response == events[-1]["response"] == fold(iter(events))


@pytest.mark.slow
@given(streams())
def test_openai_reads_every_event_strictly_and_accumulates_the_same(stream):
    events, writer = stream
    read = [typed(event) for event in events]
    state = accumulated(read)
    done = [state._completed_output[at].to_dict() for at in sorted(state._completed_output)]
    assert done == writer.response["output"]
    grown = state._ResponseStreamState__current_snapshot.output
    assert [getattr(item, "id", None) for item in grown] == [item["id"] for item in done]
    for item, whole in zip(grown, done, strict=True):
        if item.type == "message":
            assert item.content[0].text == whole["content"][0]["text"]
        elif item.type == "function_call":
            assert item.arguments == whole["arguments"]
    if writer.status == "completed":
        response = Response.model_validate(writer.response, strict=True)
        completed = state._completed_response
        assert completed.output_text == response.output_text
        assert completed.usage == response.usage
        assert [item.id for item in completed.output] == [item.id for item in response.output]


@pytest.mark.slow
@given(streams())
def test_only_the_fields_we_know_of_are_new_to_openai(stream):
    extra = {each for event in stream[0] for each in unnamed(typed(event))}
    assert extra <= {(kind, field) for kind, names in MORE.items() for field in names}


@given(settings())
def test_a_response_says_back_everything_that_was_asked_for(options):
    response = write([finished()], options=options)[1].response
    hidden = "extensions kinds namespaces include_logprobs includes servers container_id approved"
    assert not response.keys() & set(hidden.split())
    for name, value in response.items():
        if hasattr(options, name):
            expected = getattr(options, name)
            assert value == (list(expected) if name == "tools" else expected)
    assert response["seed"] == 7
    required = "id object created_at model output parallel_tool_calls tool_choice tools"
    always = "status error incomplete_details usage store completed_at"
    assert {*required.split(), *always.split()} <= response.keys()


@pytest.mark.slow
@given(turns(), st.integers(0, 20))
def test_a_snapshot_is_a_response_and_does_not_change_later(turn, at):
    writer = a_writer()
    writer.begin()
    for event in turn[:at]:
        writer.push(event)
    snapshot = writer.response
    before = copy.deepcopy(snapshot)
    Response.model_validate(json.loads(json.dumps(snapshot)), strict=True)
    for event in turn[at:]:
        writer.push(event)
    assert snapshot == before


def test_reasoning_is_told_piece_by_piece():
    events, writer = write(part("analysis", "h", "m"))
    assert words(events[2:]) == [
        "output_item.added",
        "content_part.added",
        "reasoning_text.delta",
        "reasoning_text.delta",
        "reasoning_text.done",
        "content_part.done",
        "output_item.done",
    ]
    assert writer.response["output"] == [
        {
            "id": "rs_2",
            "type": "reasoning",
            "status": "completed",
            "summary": [],
            "content": [{"type": "reasoning_text", "text": "hm"}],
        }
    ]


def test_what_was_sampled_for_a_thought_is_sealed_once_it_is_known():
    events, writer = write(part("analysis", "hm"), sign_reference="sealed {}".format)
    assert "encrypted_content" not in events[2]["item"]
    assert writer.response["output"][0]["encrypted_content"] == "sealed rs_2"


def test_nothing_is_sealed_where_no_exact_tokens_are_known():
    cut = part("analysis", "hm")[:-1]
    events, writer = write(
        [*part("analysis", "hm", ids=None), *cut], sign_reference="sealed {}".format
    )
    writer.fail("server_error", "it broke")
    assert not any("encrypted_content" in item for item in writer.response["output"])


def test_a_preamble_is_commentary_and_an_answer_is_final():
    turn = [*part("preamble", "Let me look."), *part("final", "Here."), finished()]
    response = write(turn)[1].response
    assert [item["phase"] for item in response["output"]] == ["commentary", "final_answer"]
    assert [item["id"] for item in response["output"]] == ["msg_2", "msg_3"]
    assert response["status"] == "completed"
    assert response["completed_at"] == 1_700_000_000


@pytest.mark.parametrize(
    ("name", "item"),
    [
        ("look_up", {"id": "fc_2", "type": "function_call", "arguments": '{"a":1}'}),
        ("apply_patch", {"id": "ctc_2", "type": "custom_tool_call", "input": '{"a":1}'}),
        ("never_heard", {"id": "fc_2", "type": "function_call", "arguments": '{"a":1}'}),
    ],
)
def test_a_call_is_told_by_the_kind_of_its_tool(name, item):
    turn = [*part("call", '{"a"', ":1}", name=name), finished("tool_calls")]
    events, writer = write(turn)
    check(events)
    whole = {**item, "status": "completed", "call_id": "call_7", "name": name}
    assert writer.response["output"] == [whole]
    assert writer.response["status"] == "completed"


def test_the_end_of_a_functions_arguments_names_the_function():
    events, _ = write(part("call", "{}", name="look_up"))
    [done] = [each for each in events if each["type"].endswith("arguments.done")]
    assert (done["name"], done["arguments"]) == ("look_up", "{}")


def test_a_call_into_a_namespace_has_the_names_the_caller_gave():
    item = write(part("call", "{}", name="mail__send"))[1].response["output"][0]
    assert (item["namespace"], item["name"]) == ("mail", "send")


def test_a_call_cut_by_the_length_is_incomplete_and_so_is_the_response():
    turn = [*part("call", '{"a', name="look_up", whole=False), finished("length")]
    events, writer = write(turn)
    check(events)
    assert events[-1]["type"] == "response.incomplete"
    assert writer.response["incomplete_details"] == {"reason": "max_output_tokens"}
    [item] = writer.response["output"]
    assert (item["status"], item["arguments"]) == ("incomplete", '{"a')


def test_a_part_of_an_unknown_kind_counts_as_thought():
    assert write(part("dream", "z"))[1].response["output"][0]["type"] == "reasoning"


def test_an_event_of_an_unknown_kind_says_nothing():
    writer = a_writer()
    writer.begin()
    assert writer.push(Later()) == []
    writer.push(PartStarted("final"))
    assert writer.push(Later()) == []


def test_a_part_that_begins_inside_another_ends_it():
    events, writer = write(
        [PartStarted("analysis"), ReasoningDelta("h"), *part("final", "Hi"), finished()]
    )
    check(events)
    assert [item["status"] for item in writer.response["output"]] == ["incomplete", "completed"]


def test_pieces_after_a_part_are_nobodys():
    writer = write(part("final", "Hi"))[1]
    assert writer.push(TextDelta("!")) == []


@pytest.mark.parametrize("kind", ["analysis", "final", "call"])
def test_an_empty_piece_says_nothing(kind):
    began, piece, *_ = part(kind, "", name="look_up" if kind == "call" else "")
    writer = write([began])[1]
    assert writer.push(piece) == []


def test_usage_has_every_detail():
    assert write([finished()])[1].response["usage"] == {
        "input_tokens": USAGE.prompt_tokens,
        "input_tokens_details": {"cached_tokens": 5, "cache_write_tokens": 0},
        "output_tokens": USAGE.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": 3},
        "total_tokens": 18,
    }


SCORED = TokenLogprob(
    "é", 5, -0.5, (TokenLogprob("é", 5, -0.5), TokenLogprob("e", 6, float("-inf")))
)
SHOWN = {
    "token": "é",
    "bytes": [195, 169],
    "logprob": -0.5,
    "top_logprobs": [
        {"token": "é", "bytes": [195, 169], "logprob": -0.5},
        {"token": "e", "bytes": [101], "logprob": -9999.0},
    ],
}


def test_log_probabilities_go_with_their_delta_and_all_of_them_with_the_end():
    scored = [
        PartStarted("final"),
        TextDelta("é", (SCORED,)),
        TextDelta("e"),
        TextDelta("", (SCORED,)),
    ]
    events, _ = write([*scored, part("final", "éé")[-1], finished()])
    check(events)
    deltas = [each["logprobs"] for each in events if each["type"].endswith("text.delta")]
    assert deltas == [[SHOWN], [], [SHOWN]]
    [done] = [each for each in events if each["type"] == "response.output_text.done"]
    assert done["logprobs"] == [SHOWN, SHOWN]
    assert events[-1]["response"]["output"][0]["content"][0]["logprobs"] == [SHOWN, SHOWN]


def test_log_probabilities_that_nobody_asked_for_are_not_told():
    quiet = type(SETTINGS)(model="nano")
    scored = [PartStarted("final"), TextDelta("é", (SCORED,)), part("final", "é")[-1]]
    events, _ = write([*scored, finished()], options=quiet)
    assert '"top_logprobs": [' not in json.dumps(events)


def test_a_citation_becomes_a_link_and_an_annotation():
    turn = [*part("final", "See 【3†", "L1-L2】.", " 【"), finished()]
    events, writer = write(turn, resolve=page)
    check(events)
    [content] = writer.response["output"][0]["content"]
    assert content["text"] == "See  ([a.b](https://a.b/3)) . 【"
    [note] = content["annotations"]
    assert content["text"][note["start_index"] : note["end_index"]] == "([a.b](https://a.b/3))"
    assert words(events).count("output_text.annotation.added") == 1


def test_annotations_are_counted_through_the_whole_text():
    turn = [*part("final", "【3†L1】", " and ", "【4†L1】【5†L1】"), finished()]
    events, writer = write(turn, resolve=page)
    check(events)
    places = [each["annotation_index"] for each in events if "annotation" in each]
    assert places == [0, 1, 2]
    notes = writer.response["output"][0]["content"][0]["annotations"]
    assert [note["url"][-1] for note in notes] == ["3", "4", "5"]


def test_a_queued_response_waits_until_it_is_started():
    writer = a_writer()
    assert words(writer.begin(queued=True)) == ["created", "queued"]
    assert writer.response["status"] == "queued"
    assert words(writer.start()) == ["in_progress"]
    assert writer.start() == []


def test_a_queued_response_that_writes_has_been_started():
    writer = a_writer()
    writer.begin(queued=True)
    assert words(writer.push(PartStarted("final")))[0] == "in_progress"


def test_created_is_first_even_if_nobody_began():
    assert words(a_writer().push(finished())) == ["created", "in_progress", "completed"]
    assert words(a_writer().start()) == ["created", "in_progress"]
    assert words(a_writer().cancel()) == ["created", "in_progress", "incomplete"]


def test_a_response_begins_once():
    writer = a_writer()
    writer.begin()
    with pytest.raises(AssertionError, match="once"):
        writer.begin()


def test_a_fault_closes_what_is_open_and_tells_the_code():
    events, writer = write([*part("analysis", "hm"), PartStarted("call", "call_1", "look_up")])
    events += writer.push(ArgumentsDelta("{"))
    end = writer.fail("server_error", "the engine died", 20)
    check(events + end)
    assert words(end) == ["function_call_arguments.done", "output_item.done", "failed"]
    response = writer.response
    assert response["error"] == {"code": "server_error", "message": "the engine died"}
    assert [item["status"] for item in response["output"]] == ["completed", "incomplete"]


def test_the_tokens_of_what_broke_are_counted_as_far_as_they_are_known():
    turn = [*part("analysis", "hm"), *part("call", "{}", name="look_up", ids=(1, 2))]
    writer = write([*turn, *part("final", "Hi", ids=None)])[1]
    usage = writer.fail("server_error", "it broke", 20)[-1]["response"]["usage"]
    assert (usage["input_tokens"], usage["output_tokens"], usage["total_tokens"]) == (20, 5, 25)
    assert usage["output_tokens_details"] == {"reasoning_tokens": 3}


def test_a_cancelled_response_is_cancelled_in_an_incomplete_event():
    for end in (lambda writer: writer.cancel(), lambda writer: writer.push(finished("cancelled"))):
        events, writer = write([PartStarted("final"), TextDelta("Hi")])
        events += end(writer)
        check(events)
        assert events[-1]["type"] == "response.incomplete"
        assert writer.response["status"] == "cancelled"
        assert writer.response["incomplete_details"] is None


def test_nothing_follows_the_terminal_event():
    writer = write([finished()])[1]
    before = writer.response
    assert writer.start() == []
    assert writer.push(PartStarted("final")) == []
    assert writer.fail("server_error", "late") == []
    assert writer.cancel() == []
    assert writer.response == before


def test_what_was_written_is_kept_with_the_id_of_its_item():
    turn = [*part("analysis", "hm"), *part("final", "Hi"), finished()]
    recorded = [(each.item_id, each.message) for each in write(turn)[1].written]
    assert recorded == [("rs_2", message("analysis", "hm")), ("msg_3", message("final", "Hi"))]


def test_the_answer_that_is_not_streamed_is_the_stream_folded():
    events, writer = write([*part("final", "Hi"), finished()])
    assert fold(iter(events)) == writer.response


def test_only_a_whole_stream_can_be_folded():
    with pytest.raises(AssertionError, match="terminal"):
        fold(a_writer().begin())
