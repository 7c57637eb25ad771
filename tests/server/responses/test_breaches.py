"""Each breach of the rules of a stream is seen: by OpenAI's accumulator, or by our own rules."""

import copy

import httpx2
import pytest
from openai import APIError, OpenAI

from ossia.server.api.sse import sse_frame
from ossia.server.responses.writer import ResponseWriter
from tests.server.responses.turns import SETTINGS, Counter, finished, part, ran
from tests.server.responses.wire_rules import accumulated, check, typed


@pytest.fixture
def events():
    """A legal stream of two messages, to be broken."""
    writer = ResponseWriter(SETTINGS, new_id=Counter(), clock=lambda: 0.0)
    turn = [*part("preamble", "Let me", " look."), *part("final", "He", "re."), finished()]
    events = [*writer.begin(), *(out for event in turn for out in writer.push(event))]
    return copy.deepcopy(events)


def where(events, word, nth=0):
    places = [at for at, event in enumerate(events) if event["type"] == f"response.{word}"]
    return places[nth]


def read(events):
    return accumulated([typed(event) for event in events])


def test_the_unbroken_stream_is_legal(events):
    check(events)
    assert read(events)._completed_response.output_text == "Let me look.Here."


def test_created_must_be_first(events):
    with pytest.raises(RuntimeError, match=r"response\.created"):
        read(events[1:])


def test_every_item_needs_its_own_place(events):
    events[where(events, "output_item.added", 1)]["output_index"] = 0
    with pytest.raises(RuntimeError, match="Duplicate"):
        read(events)


def test_a_delta_must_name_the_place_of_its_item(events):
    events[where(events, "output_text.delta")]["output_index"] = 1
    with pytest.raises(RuntimeError, match="before receiving its output item"):
        read(events)


def test_a_delta_must_not_come_before_its_item(events):
    added = where(events, "output_item.added")
    events.insert(added, events.pop(where(events, "output_text.delta")))
    with pytest.raises(RuntimeError, match="before receiving its output item"):
        read(events)


def test_an_item_keeps_its_id_until_it_is_done(events):
    events[where(events, "output_item.done")]["item"]["id"] = "msg_other"
    with pytest.raises(RuntimeError, match="identity changed"):
        read(events)


def test_the_terminal_event_must_hold_the_items_that_were_opened(events):
    del events[where(events, "output_item.done", 1)]
    events[-1]["response"]["output"][1]["id"] = "msg_other"
    with pytest.raises(RuntimeError, match="unfinished output items"):
        read(events)


def test_no_item_may_be_left_open(events):
    del events[where(events, "output_item.done", 1)]
    del events[-1]["response"]["output"][1]
    with pytest.raises(RuntimeError, match="unfinished output items"):
        read(events)


def answered(events):
    """What OpenAI's client makes of a stream that comes over HTTP."""
    body = b"".join(sse_frame(event, event["type"]) for event in events)

    def answer(request):
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=body)

    with (
        OpenAI(
            base_url="http://test/v1",
            api_key="none",
            http_client=httpx2.Client(transport=httpx2.MockTransport(answer)),
            _strict_response_validation=True,
        ) as client,
        client.responses.stream(model="nano", input="Hi") as stream,
    ):
        return stream.get_final_response()


def test_openais_client_reads_the_unbroken_stream(events):
    assert answered(events).output_text == "Let me look.Here."


def test_openais_client_reads_any_character():
    text = "\0\r\n\n\x85\u2028\u2029\N{MUSICAL SYMBOL G CLEF}data: [DONE]"
    writer = ResponseWriter(SETTINGS)
    turn = [*part("final", *text), finished()]
    events = [*writer.begin(), *(out for event in turn for out in writer.push(event))]
    assert answered(events).output_text == text


def test_a_top_level_error_key_is_an_exception_to_openais_client(events):
    events[where(events, "output_text.delta")]["error"] = {"message": "oh"}
    with pytest.raises(APIError, match="oh"):
        answered(events)
    with pytest.raises(AssertionError):
        check(events)


def change(word, nth=0, **fields):
    def breach(events):
        events[where(events, word, nth)].update(fields)

    return breach


def drop(word, nth=0):
    def breach(events):
        del events[where(events, word, nth)]
        for number, event in enumerate(events):
            event["sequence_number"] = number

    return breach


def edit_last(**fields):
    def breach(events):
        events[-1]["response"].update(fields)

    return breach


@pytest.mark.parametrize(
    "breach",
    [
        drop("created"),
        drop("completed"),
        drop("content_part.added"),
        drop("output_text.delta"),
        drop("output_text.done", 1),
        drop("content_part.done"),
        drop("output_item.done", 1),
        lambda events: events.append({**events[-1], "sequence_number": len(events)}),
        lambda events: events.insert(4, events.pop(-1)),
        change("output_text.delta", 1, delta="!"),
        change("output_text.delta", 3, output_index=0),
        change("output_text.done", 0, item_id="msg_other"),
        change("output_text.done", 0, text="Let me"),
        change("content_part.done", 0, content_index=1),
        change("in_progress", sequence_number=7),
        edit_last(output=[]),
        edit_last(status="incomplete"),
        edit_last(id="resp_other"),
        edit_last(error={"code": "server_error", "message": "oh"}),
    ],
)
def test_our_own_rules_see_it(events, breach):
    breach(events)
    with pytest.raises(AssertionError):
        check(events)


@pytest.fixture
def calls():
    """A legal stream with a call of every kind that runs here."""
    writer = ResponseWriter(SETTINGS, new_id=Counter(), clock=lambda: 0.0)
    turn = []
    for name in ("browser.search", "python", "post.send"):
        turn += [*part("call", "{}", name=name), ran(name)]
    events = [
        *writer.begin(),
        *(out for event in [*turn, finished()] for out in writer.push(event)),
    ]
    return copy.deepcopy(events)


def edit_done(nth, **fields):
    def breach(events):
        events[where(events, "output_item.done", nth)]["item"].update(fields)
        events[-1]["response"]["output"][nth].update(fields)

    return breach


def test_the_unbroken_calls_are_legal(calls):
    check(calls)
    kinds = [item.type for item in read(calls)._completed_response.output]
    assert kinds == ["web_search_call", "code_interpreter_call", "mcp_list_tools", "mcp_call"]


@pytest.mark.parametrize(
    "breach",
    [
        drop("web_search_call.in_progress"),
        drop("web_search_call.completed"),
        drop("code_interpreter_call_code.delta"),
        drop("code_interpreter_call_code.done"),
        drop("code_interpreter_call.interpreting"),
        drop("code_interpreter_call.completed"),
        drop("mcp_list_tools.completed"),
        drop("mcp_call_arguments.done"),
        drop("mcp_call.completed"),
        change("mcp_call.completed", type="response.mcp_call.failed"),
        change("mcp_call_arguments.done", arguments="{"),
        change("code_interpreter_call_code.done", code="2"),
        change("web_search_call.completed", item_id="ws_other"),
        edit_done(0, status="failed"),
        edit_done(1, status="incomplete"),
        edit_done(1, code="2"),
        edit_done(2, server_label="other"),
        edit_done(3, server_label="other"),
        edit_done(3, output=None),
    ],
)
def test_our_own_rules_see_it_in_calls_that_run_here(calls, breach):
    breach(calls)
    with pytest.raises(AssertionError):
        check(calls)


def test_our_own_rules_see_a_call_of_a_server_that_was_not_listed(calls):
    begin, end = where(calls, "output_item.added", 2), where(calls, "output_item.added", 3)
    del calls[begin:end]
    del calls[-1]["response"]["output"][2]
    for number, event in enumerate(calls):
        event["sequence_number"] = number
        if event.get("output_index") == 3:
            event["output_index"] = 2
    with pytest.raises(AssertionError):
        check(calls)
