"""OpenAI's own client, at its strictest, through every route of the Responses API."""

import threading
import time

import httpx2
import pytest
from openai import (
    BadRequestError,
    InternalServerError,
    NotFoundError,
    OpenAI,
    RateLimitError,
)
from pydantic import BaseModel

from ossia.errors import ProviderBusy, ProviderUnavailable, RequestError
from ossia.server import responses
from ossia.server.responses.to_turn import ParsedResponseRequest
from tests.server.scripted import (
    ScriptedEngine,
    answer,
    call,
    finished,
    preamble,
    served_model,
    thought,
)
from tests.server.serving import client_of

PLAIN = [*thought("hm"), *answer("He", "llo"), *finished()]
CALLING = [
    *thought("hm"),
    *preamble("Now."),
    *call("f", '{"a"', ":1}", call_id="call_1"),
    *finished("tool_calls"),
]
FUNCTION = {
    "type": "function",
    "name": "f",
    "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}},
    "strict": True,
}
ENDLESS = [*thought("hm"), *answer(*("x" for _ in range(10_000))), *finished()]


@pytest.fixture(scope="module")
def served():
    engine = ScriptedEngine()
    with client_of(engine, responses.routes) as client:
        yield engine, client


@pytest.fixture
def engine(served):
    slowly(served[0], [PLAIN], pause=0.0)
    return served[0]


@pytest.fixture
def client(engine, served) -> OpenAI:
    return served[1]


def create(client, **fields):
    return client.responses.create(**{"model": "nano", "input": "Hello", **fields})


def eventually(condition, within=5.0):
    end = time.monotonic() + within
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.005)


def slowly(engine, scripts, pause):
    engine.play(scripts)
    engine.pause = pause


def messages_of(engine, at=-1):
    return engine.requests[at].conversation.messages


def ids_of(engine, at=-1):
    return [message.sampled_ids for message in messages_of(engine, at)]


def other(client):
    """Another key's client."""
    return client.with_options(default_headers={"x-owner": "berta"})


class TestCreating:
    def test_an_answer_in_one_piece(self, client, engine):
        found = create(client, instructions="Be brief.", metadata={"a": "b"})
        assert found.output_text == "Hello"
        assert [item.type for item in found.output] == ["reasoning", "message"]
        assert (found.status, found.metadata, found.model) == ("completed", {"a": "b"}, "nano")
        assert found.usage.input_tokens_details.cached_tokens == 5
        assert engine.requests[0].conversation.instructions == "Be brief."
        assert engine.requests[0].conversation.date == "2026-11-21"

    def test_the_stream_adds_up_to_the_same(self, client):
        whole = create(client)
        with client.responses.stream(model="nano", input="Hello") as stream:
            events = list(stream)
            folded = stream.get_final_response()
        assert [event.sequence_number for event in events] == list(range(len(events)))
        assert events[0].type == "response.created"
        assert events[-1].type == "response.completed"
        ours, theirs = (one.model_dump() for one in (whole, folded))
        for one in (ours, theirs):
            del one["id"]
            for item in one["output"]:
                del item["id"]
                for part in item["content"]:
                    part.pop("parsed", None)
        assert ours == theirs

    def test_a_parsed_answer(self, client, engine):
        class Point(BaseModel):
            x: int

        engine.play([[*thought("hm"), *answer('{"x"', ":3}"), *finished()]])
        found = client.responses.parse(model="nano", input="x is 3", text_format=Point)
        assert found.output_parsed == Point(x=3)
        assert engine.requests[0].answer.schema["properties"].keys() == {"x"}

    def test_a_cut_answer_is_incomplete(self, client, engine):
        engine.play([[*answer("Hel", is_whole=False), *finished("length")]])
        found = create(client, max_output_tokens=3)
        assert found.status == "incomplete"
        assert found.incomplete_details.reason == "max_output_tokens"
        assert engine.requests[0].params.max_tokens == 3

    def test_what_has_no_effect_is_named_in_a_header(self, client):
        raw = client.responses.with_raw_response.create(
            model="nano",
            input=[{"role": "user", "content": "Hi"}, {"type": "compaction_trigger"}],
            tools=[FUNCTION, {"type": "web_search"}],
            service_tier="flex",
        )
        assert raw.headers["x-ossia-ignored"] == "input[1], tools[1], service_tier"

    def test_the_model_has_several_names_but_not_every(self, client):
        assert create(client, model="NANO:latest").model == "nano"
        with pytest.raises(NotFoundError) as found:
            create(client, model="gpt-9")
        assert found.value.code == "model_not_found"

    @pytest.mark.parametrize(
        ("fields", "param"),
        [
            ({"input": [{"type": "of_2031"}]}, "input[0].type"),
            ({"tools": [{"type": "function"}]}, "tools[0].name"),
            ({"tool_choice": {"type": "function", "name": "g"}}, "tool_choice.name"),
            ({"tool_choice": {"type": "web_search_preview"}}, "tool_choice"),
            ({"background": True, "store": False}, "background"),
            ({"temperature": 3}, "temperature"),
            ({"extra_body": {"logit_bias": {"95": 1}}}, "logit_bias.95"),
        ],
    )
    def test_a_bad_request_is_refused_before_a_stream_opens(self, client, fields, param):
        with pytest.raises(BadRequestError) as found:
            create(client, stream=True, **fields)
        assert found.value.param == param

    @pytest.mark.parametrize("stream", [True, False])
    @pytest.mark.parametrize(
        ("error", "kind"),
        [
            (RequestError("no", param="text.format.schema.x", code="invalid_json_schema"),
             BadRequestError),
            (ProviderBusy("full", code="queue_full"), RateLimitError),
            (ProviderUnavailable("restarting"), InternalServerError),
        ],
    )  # fmt: skip
    def test_a_turn_that_cannot_begin_is_an_http_error(self, client, engine, error, kind, stream):
        engine.play([error])
        with pytest.raises(kind):
            create(client, stream=stream)

    def test_sealed_reasoning_is_given_only_when_asked_for(self, client):
        created = create(client, include=["reasoning.encrypted_content"], store=False)
        assert created.output[0].encrypted_content
        assert create(client).output[0].encrypted_content is None


class TestTheEnginesDeath:
    SCRIPT = (*thought("hm"), *answer("He")[:2], ProviderUnavailable("the engine died"))

    def test_ends_a_stream_with_its_terminal_event(self, client, engine):
        engine.play([self.SCRIPT])
        events = list(create(client, stream=True))
        assert events[-1].type == "response.failed"
        failed = events[-1].response
        assert (failed.status, failed.error.code) == ("failed", "server_error")
        assert failed.error.message == "the engine died"
        assert [item.status for item in failed.output] == ["completed", "incomplete"]
        stored = client.responses.retrieve(failed.id)
        assert (stored.status, stored.output_text) == ("failed", "He")

    def test_is_an_http_error_where_nothing_was_said_yet(self, client, engine):
        engine.play([self.SCRIPT])
        with pytest.raises(InternalServerError) as found:
            create(client)
        assert found.value.status_code == 503

    def test_by_a_fault_nobody_knows_says_nothing_of_it(self, client, engine):
        engine.play([[*thought("hm"), ZeroDivisionError("secret")]])
        *_, last = create(client, stream=True)
        assert last.type == "response.failed"
        assert "secret" not in last.response.error.message

    @pytest.mark.parametrize("script", [[], [*thought("hm"), *finished("cancelled")]])
    def test_without_a_word_is_a_failure_too(self, client, engine, script):
        engine.play([script])
        *_, last = create(client, stream=True)
        assert last.type == "response.failed"


class TestStored:
    def test_responses_are_read_again(self, client):
        made = create(client)
        assert client.responses.retrieve(made.id) == made

    def test_responses_that_are_not_stored_are_gone(self, client):
        made = create(client, store=False)
        with pytest.raises(NotFoundError) as found:
            client.responses.retrieve(made.id)
        assert found.value.code == "response_not_found"

    def test_responses_are_deleted_once(self, client):
        made = create(client)
        client.responses.delete(made.id)
        for again in (client.responses.retrieve, client.responses.delete):
            with pytest.raises(NotFoundError):
                again(made.id)

    def test_responses_are_their_owners_alone(self, client):
        made = create(client)
        stranger = other(client)
        for use in (
            stranger.responses.retrieve,
            stranger.responses.delete,
            stranger.responses.cancel,
            stranger.responses.input_items.list,
        ):
            with pytest.raises(NotFoundError):
                list(use(made.id))
        with pytest.raises(NotFoundError):
            create(stranger, previous_response_id=made.id)

    def test_foreground_responses_keep_no_events_and_are_not_cancelled(self, client):
        made = create(client)
        with pytest.raises(BadRequestError):
            client.responses.retrieve(made.id, stream=True)
        with pytest.raises(BadRequestError):
            client.responses.cancel(made.id)

    def test_input_items_come_in_pages(self, client):
        items = [{"role": "user", "content": f"{at}"} for at in range(5)]
        made = create(client, input=items)
        listed = list(client.responses.input_items.list(made.id, limit=2))
        assert [item.content[0].text for item in listed] == ["4", "3", "2", "1", "0"]
        page = client.responses.input_items.list(made.id, limit=3, order="asc")
        assert (page.has_more, page.first_id) == (True, page.data[0].id)
        rest = client.responses.input_items.list(made.id, order="asc", after=page.last_id)
        assert [item.content[0].text for item in rest.data] == ["3", "4"]
        assert rest.has_more is False
        with pytest.raises(BadRequestError):
            client.responses.input_items.list(made.id, after="msg_nobody")


class TestGoingOn:
    def test_a_chain_is_exact_and_tells_new_instructions_only(self, client, engine):
        engine.play([CALLING, PLAIN, PLAIN])
        first = create(client, tools=[FUNCTION], instructions="Once.")
        output = {"type": "function_call_output", "call_id": "call_1", "output": "sunny"}
        second = create(client, input=[output], previous_response_id=first.id)
        assert ids_of(engine) == [None, (1, 2), (3,), (6, 7), None]
        assert messages_of(engine)[-1].name == "functions.f"
        assert engine.requests[-1].conversation.instructions is None
        assert engine.requests[-1].conversation.functions == ()
        third = create(client, input="And?", previous_response_id=second.id)
        assert ids_of(engine) == [None, (1, 2), (3,), (6, 7), None, (1, 2), (4, 5), None]
        assert third.previous_response_id == second.id

    def test_a_replayed_conversation_is_exact_too(self, client, engine):
        engine.play([CALLING, PLAIN])
        first = create(client, tools=[FUNCTION], store=False)
        replayed = [
            {"role": "user", "content": "Hello"},
            *(item.model_dump() for item in first.output if item.type == "function_call"),
            {"type": "function_call_output", "call_id": "call_1", "output": "sunny"},
        ]
        create(client, input=replayed, store=False)
        assert ids_of(engine) == [None, (1, 2), (3,), (6, 7), None]

    def test_items_may_be_named_instead_of_sent(self, client, engine):
        engine.play([CALLING, PLAIN])
        first = create(client, tools=[FUNCTION])
        named = [{"type": "item_reference", "id": item.id} for item in first.output]
        output = {"type": "function_call_output", "call_id": "call_1", "output": "sunny"}
        create(client, input=[{"role": "user", "content": "Hello"}, *named, output])
        assert ids_of(engine) == [None, (1, 2), (3,), (6, 7), None]

    def test_an_output_alone_brings_its_call_back(self, client, engine):
        engine.play([CALLING, PLAIN])
        create(client, tools=[FUNCTION])
        output = {"type": "function_call_output", "call_id": "call_1", "output": "sunny"}
        create(client, input=[{"role": "user", "content": "Hello"}, output])
        assert ids_of(engine) == [None, (1, 2), (3,), (6, 7), None]
        with pytest.raises(BadRequestError):
            create(other(client), input=[output])

    def test_a_call_that_was_cut_is_no_part_of_what_follows(self, client, engine):
        cut = [*thought("hm"), *call("f", '{"a"', is_whole=False), *finished("length")]
        engine.play([cut, PLAIN])
        first = create(client, tools=[FUNCTION])
        assert first.output[-1].status == "incomplete"
        create(client, previous_response_id=first.id)
        assert ids_of(engine) == [None, (1, 2), None]

    def test_ids_of_another_model_are_not_used(self, client, engine):
        first = create(client)
        engine.model = served_model(fingerprint="fp_other")
        try:
            create(client, previous_response_id=first.id)
        finally:
            engine.model = served_model()
        assert ids_of(engine) == [None, None, None, None]
        assert [message.content for message in messages_of(engine)][:3] == ["Hello", "hm", "Hello"]

    def test_the_day_is_that_of_the_beginning(self, client, engine, monkeypatch):
        first = create(client)
        create(client, previous_response_id=first.id)
        assert engine.requests[-1].conversation.date == "2026-11-21"

    def test_nothing_goes_on_from_what_is_not_there(self, client):
        with pytest.raises(NotFoundError) as found:
            create(client, previous_response_id="resp_nobody")
        assert found.value.code == "previous_response_not_found"
        assert found.value.param == "previous_response_id"

    def test_a_broken_chain_is_not_there(self, client):
        first = create(client)
        second = create(client, previous_response_id=first.id)
        client.responses.delete(first.id)
        with pytest.raises(NotFoundError):
            create(client, previous_response_id=second.id)

    def test_a_response_must_have_ended(self, client, engine):
        slowly(engine, [ENDLESS, PLAIN], pause=0.01)
        stream = create(client, stream=True)
        running = next(iter(stream)).response.id
        with pytest.raises(BadRequestError) as found:
            create(client, previous_response_id=running)
        assert found.value.param == "previous_response_id"
        stream.close()


class TestTooLong:
    """An engine whose context holds few messages."""

    @pytest.fixture(autouse=True)
    def narrow(self, engine, monkeypatch):
        start = engine.start

        async def begin(request):
            if len(request.conversation.messages) > 3:
                raise RequestError("too long", code="context_length_exceeded")
            return await start(request)

        monkeypatch.setattr(engine, "start", begin)

    ITEMS = tuple({"role": "user", "content": str(at)} for at in range(6))

    def test_is_refused_unless_it_may_be_truncated(self, client):
        with pytest.raises(BadRequestError) as found:
            create(client, input=self.ITEMS)
        assert found.value.code == "context_length_exceeded"

    def test_loses_its_oldest_turns_and_no_more(self, client, engine):
        create(client, input=self.ITEMS, truncation="auto")
        assert [message.content for message in messages_of(engine)] == ["3", "4", "5"]
        assert all(stream.is_closed for stream in engine.streams)

    def test_is_refused_if_even_the_last_turn_is(self, client):
        last = [{"role": "assistant", "content": "x"}] * 4
        with pytest.raises(BadRequestError):
            create(client, input=[*self.ITEMS, *last], truncation="auto")

    def test_but_for_another_reason_is_refused_at_once(self, client):
        with pytest.raises(BadRequestError):
            create(client, truncation="auto", tool_choice={"type": "function", "name": "g"})


class TestGone:
    """A client that leaves."""

    @pytest.mark.parametrize("stream", [True, False])
    def test_stops_the_engine_and_leaves_a_cancelled_row(self, client, engine, stream):
        slowly(engine, [ENDLESS], pause=0.01)
        with pytest.raises(httpx2.TimeoutException if not stream else StopIteration):
            leave(client, stream)
        eventually(lambda: engine.streams and engine.streams[0].is_closed)
        assert engine.streams[0].num_sent < 1000

    def test_may_read_what_there_was(self, client, engine):
        slowly(engine, [ENDLESS], pause=0.01)
        stream = create(client, stream=True)
        events = iter(stream)
        made = next(events).response.id
        assert client.responses.retrieve(made).status == "in_progress"
        while next(events).type != "response.output_text.delta":
            pass
        stream.close()
        eventually(lambda: client.responses.retrieve(made).status == "cancelled")
        assert client.responses.retrieve(made).output_text

    def test_deleting_a_running_response_ends_its_stream(self, client, engine):
        slowly(engine, [ENDLESS], pause=0.01)
        events = iter(create(client, stream=True))
        made = next(events).response.id
        client.responses.delete(made)
        *_, last = events
        assert (last.type, last.response.status) == ("response.incomplete", "cancelled")
        with pytest.raises(NotFoundError):
            client.responses.retrieve(made)


def leave(client, stream):
    body = {"input": "Hello", "stream": stream}
    url = f"{client.base_url}responses"
    with httpx2.Client() as http:
        if not stream:
            http.post(url, json=body, timeout=0.2)
        with http.stream("POST", url, json=body) as answer:
            next(answer.iter_lines())
    raise StopIteration


class TestBackground:
    def test_answers_at_once_and_is_polled(self, client, engine):
        slowly(engine, [PLAIN], pause=0.02)
        made = create(client, background=True)
        assert (made.status, made.output) == ("queued", [])
        eventually(lambda: client.responses.retrieve(made.id).status == "completed")
        assert client.responses.retrieve(made.id).output_text == "Hello"

    def test_streams_and_streams_again_from_anywhere(self, client, engine):
        slowly(engine, [PLAIN], pause=0.01)
        events = list(create(client, background=True, stream=True))
        assert [event.type for event in events[:3]] == [
            "response.created", "response.queued", "response.in_progress",
        ]  # fmt: skip
        assert events[-1].type == "response.completed"
        assert [event.sequence_number for event in events] == list(range(len(events)))
        made = events[0].response.id
        for after in (0, 5, len(events) - 2):
            again = list(client.responses.retrieve(made, stream=True, starting_after=after))
            assert again == events[after + 1 :]
        assert list(client.responses.retrieve(made, stream=True)) == events

    def test_goes_on_when_its_reader_leaves_and_is_taken_up_again(self, client, engine):
        slowly(engine, [PLAIN], pause=0.02)
        stream = create(client, background=True, stream=True)
        first = next(iter(stream))
        stream.close()
        rest = list(client.responses.retrieve(first.response.id, stream=True, starting_after=0))
        assert rest[-1].type == "response.completed"
        assert [event.sequence_number for event in rest] == list(range(1, len(rest) + 1))

    def test_is_cancelled_and_cancelled_again(self, client, engine):
        slowly(engine, [ENDLESS], pause=0.01)
        made = create(client, background=True)
        cancelled = client.responses.cancel(made.id)
        assert cancelled.status == "cancelled"
        assert client.responses.cancel(made.id) == cancelled
        eventually(lambda: engine.streams[0].is_closed)
        *_, last = client.responses.retrieve(made.id, stream=True)
        assert (last.type, last.response.status) == ("response.incomplete", "cancelled")

    def test_that_ended_comes_back_from_cancel_as_it_was(self, client):
        made = create(client, background=True)
        eventually(lambda: client.responses.retrieve(made.id).status == "completed")
        assert client.responses.cancel(made.id).status == "completed"

    def test_that_is_deleted_ends_for_its_reader(self, client, engine):
        slowly(engine, [ENDLESS], pause=0.01)
        events = iter(create(client, background=True, stream=True))
        made = next(events).response.id
        client.responses.delete(made)
        *_, last = events
        assert (last.type, last.response.status) == ("response.incomplete", "cancelled")

    def test_that_fails_says_so(self, client, engine):
        engine.play([[*thought("hm"), ProviderUnavailable("the engine died")]])
        *_, last = create(client, background=True, stream=True)
        assert last.type == "response.failed"
        assert client.responses.retrieve(last.response.id).status == "failed"

    def test_that_cannot_begin_is_refused_at_once(self, client, engine):
        engine.play([RequestError("no")])
        with pytest.raises(BadRequestError):
            create(client, background=True)

    def test_after_its_last_event_there_is_still_the_last_word(self, client):
        *_, last = create(client, background=True, stream=True)
        made, after = last.response.id, last.sequence_number + 5
        (again,) = client.responses.retrieve(made, stream=True, starting_after=after)
        assert again.type == "response.completed"


def test_tools_are_read_beside_the_event_loop(client, monkeypatch):
    threads = []
    read = ParsedResponseRequest.of
    monkeypatch.setattr(
        ParsedResponseRequest,
        "of",
        lambda *args: threads.append(threading.current_thread().name) or read(*args),
    )
    create(client)
    create(client, tools=[FUNCTION])
    assert [name.startswith("asyncio_") for name in threads] == [False, True]


def test_tokens_are_counted_and_nothing_is_kept(client, engine):
    counted = client.responses.input_tokens.count(model="nano", input="Hello")
    assert counted.input_tokens == 11
    assert all(stream.is_closed for stream in engine.streams)


def test_calls_are_counted_by_their_kind(client, engine):
    engine.play([CALLING])
    found = create(client, tools=[FUNCTION])
    assert [item.type for item in found.output] == ["reasoning", "message", "function_call"]
