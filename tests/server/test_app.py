"""The whole server on loopback, with nano and a process for its engine."""

import json
import os
import re
import signal
import threading
import time

import httpx2
import openai
import pytest

from benchmarks.server_storms import LONG, NUMBERS
from benchmarks.serving import Served, served

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "enum": ["Rome", "Oslo"]}},
    "required": ["city"],
    "additionalProperties": False,
}
SHAPE = {"type": "json_schema", "name": "numbers", "schema": NUMBERS}
"""An answer that goes on for a while."""


@pytest.fixture(scope="module")
def server():
    with served() as running:
        yield running


@pytest.fixture(scope="module")
def client(server):
    with openai.OpenAI(
        base_url=server.api, api_key="unused", _strict_response_validation=True, max_retries=0
    ) as one:
        yield one


def test_a_response_is_the_answer_of_the_model(client):
    found = client.responses.create(model="nano", input="What is 37 + 48?", temperature=0)
    assert found.output_text == "85"
    assert found.usage.output_tokens_details.reasoning_tokens > 0


def test_the_chat_completion_is_the_same_answer(client):
    found = client.chat.completions.create(
        model="nano", messages=[{"role": "user", "content": "What is 37 + 48?"}], temperature=0
    )
    assert found.choices[0].message.content == "85"
    assert found.choices[0].message.reasoning


def test_a_streamed_response_adds_up_to_the_stored_one(client):
    with client.responses.stream(model="nano", input="What is 12 + 30?", temperature=0) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response()
    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.completed"
    stored = client.responses.retrieve(final.id)
    assert [item.id for item in stored.output] == [item.id for item in final.output]
    assert stored.output_text == final.output_text


def test_a_conversation_goes_on_with_its_exact_tokens(client, server):
    first = client.responses.create(model="nano", input="What is 37 + 48?", temperature=0)
    second = client.responses.create(
        model="nano", input="What is 11 + 22?", previous_response_id=first.id, temperature=0
    )
    assert second.output_text == "33"
    assert second.usage.input_tokens > first.usage.input_tokens
    assert second.usage.input_tokens_details.cached_tokens > 0


def test_an_answer_is_held_to_its_schema(client):
    found = client.responses.create(
        model="nano",
        input="Where?",
        text={"format": {"type": "json_schema", "name": "p", "schema": SCHEMA, "strict": True}},
    )
    assert json.loads(found.output_text)["city"] in ("Rome", "Oslo")


def test_a_custom_tool_is_held_to_its_grammar(client):
    form = {"type": "grammar", "syntax": "regex", "definition": "^[a-c]{3,5}!$"}
    tool = {"type": "custom", "name": "shout", "format": form}
    raw = client.responses.with_raw_response.create(
        model="nano", input="Shout.", tools=[tool], tool_choice="required"
    )
    (call,) = [item for item in raw.parse().output if item.type == "custom_tool_call"]
    assert re.fullmatch("[a-c]{3,5}!", call.input)
    assert "x-ossia-ignored" not in raw.headers


def test_a_grammar_that_cannot_be_held_is_refused_by_its_place(client):
    broken = {"syntax": "lark", "definition": 'start: "a" nothing'}
    custom = {"name": "shout", "format": {"type": "grammar", "grammar": broken}}
    with pytest.raises(openai.BadRequestError, match="cannot be read at its line 1") as refused:
        client.chat.completions.create(
            model="nano",
            messages=[{"role": "user", "content": "Shout."}],
            tools=[{"type": "custom", "custom": custom}],
        )
    assert refused.value.param == "tools[0].custom.format.grammar.definition"


def test_a_tool_call_is_held_to_its_schema_and_its_result_is_read(client):
    tool = {"type": "function", "name": "place", "parameters": SCHEMA, "strict": True}
    first = client.responses.create(
        model="nano", input="Where?", tools=[tool], tool_choice="required"
    )
    (call,) = [item for item in first.output if item.type == "function_call"]
    assert json.loads(call.arguments)["city"] in ("Rome", "Oslo")
    second = client.responses.create(
        model="nano",
        input=[{"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}],
        previous_response_id=first.id,
        tools=[tool],
        tool_choice="none",
        max_output_tokens=200,
    )
    assert second.status in ("completed", "incomplete")


def test_a_schema_that_cannot_be_honoured_names_its_place(client):
    schema = {"type": "object", "properties": {"a": {"type": "string", "pattern": "(?=a)b"}}}
    tool = {"type": "function", "name": "f", "parameters": schema, "strict": True}
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(model="nano", input="Hi", tools=[tool])
    assert refused.value.code == "invalid_json_schema"
    assert refused.value.param == "tools[0].parameters.properties.a.pattern"


def test_many_streams_at_once_are_each_exact(server):
    def ask(number):
        body = {
            "messages": [{"role": "user", "content": f"What is {number} + 17?"}],
            "seed": number, "max_tokens": 48,
        }  # fmt: skip
        return server.post("/v1/chat/completions", body).json()["choices"][0]["message"]

    alone = [ask(number) for number in range(24)]
    found = [None] * len(alone)

    def fill(number):
        found[number] = ask(number)

    threads = [threading.Thread(target=fill, args=(number,)) for number in range(len(alone))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == alone


def test_what_was_counted_is_told(server, client):
    client.responses.create(model="nano", input="Hi", temperature=0)
    counted = server.metrics()
    assert counted['ossia_requests_total{endpoint="/v1/responses",status="200"}'] >= 1
    assert counted["ossia_generation_tokens_total"] > 0
    assert counted["ossia_output_grammar_errors_total"] == 0


def test_a_reader_that_leaves_stops_its_turn(server):
    url = f"{server.api}/chat/completions"
    with httpx2.stream("POST", url, json=LONG, timeout=30) as response:
        pieces = response.iter_raw()
        next(pieces)
        assert health(server)["num_turns"] == 1
    deadline = time.monotonic() + 10
    while health(server)["num_turns"] and time.monotonic() < deadline:
        time.sleep(0.01)
    assert health(server)["num_turns"] == 0


def test_a_killed_engine_ends_streams_with_an_error_and_comes_back(server):
    body = {"input": "Numbers?", "stream": True, "text": {"format": SHAPE}}
    kinds = []
    with httpx2.stream("POST", f"{server.api}/responses", json=body, timeout=60) as response:
        for line in response.iter_lines():
            if line.startswith("event: "):
                kinds.append(line.removeprefix("event: "))
                if len(kinds) == 5:
                    os.kill(server.engine_pid, signal.SIGKILL)
            if line.startswith("data: ") and kinds[-1] == "response.failed":
                failed = json.loads(line.removeprefix("data: "))["response"]
    assert kinds[-1] == "response.failed"
    assert failed["error"]["code"] == "server_error"
    wait_until_ready(server)
    stored = httpx2.get(f"{server.api}/responses/{failed['id']}", timeout=10).json()
    assert stored["status"] == "failed"
    found = server.post("/v1/responses", {"input": "What is 37 + 48?", "temperature": 0}).json()
    assert found["output"][-1]["content"][0]["text"] == "85"


def health(server):
    return httpx2.get(f"{server.address}/health", timeout=10).json()


def wait_until_ready(server):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if httpx2.get(f"{server.address}/health/ready", timeout=10).status_code == 200:
            return
        time.sleep(0.05)
    raise AssertionError("the engine did not come back")


@pytest.mark.slow
def test_what_was_acknowledged_survives_a_kill(tmp_path):
    with Served(home=tmp_path) as server:
        port = server.address.rpartition(":")[2]
        body = {"input": "What is 37 + 48?", "temperature": 0}
        written = [server.post("/v1/responses", body).json() for _ in range(3)]
        running = {**body, "background": True, "text": {"format": SHAPE}}
        unfinished = server.post("/v1/responses", running).json()
        server.kill()
    with Served("--port", port, home=tmp_path) as server:
        for each in written:
            found = httpx2.get(f"{server.api}/responses/{each['id']}", timeout=10)
            assert found.json() == each
        found = httpx2.get(f"{server.api}/responses/{unfinished['id']}", timeout=10).json()
        assert found["status"] == "failed"


@pytest.mark.slow
def test_asked_to_stop_it_lets_answers_finish_and_takes_no_new_ones():
    with served() as server:
        url = f"{server.api}/chat/completions"
        with httpx2.stream("POST", url, json=LONG, timeout=60) as response:
            lines = response.iter_lines()
            next(lines)
            os.kill(server.pid, signal.SIGTERM)
            time.sleep(0.2)
            refused = server.post("/v1/completions", {"prompt": "Hi"})
            assert refused.status_code == 503
            assert list(lines)[-2:] == ["data: [DONE]", ""]
        assert server.stop() == 0
