import io
import shutil
import threading
import time

import pytest

from ossia import LLM
from ossia.chat import output_parser as chat_turn
from ossia.chat.events import Finished, TextDelta, collect
from ossia.chat.request import RawRequest, TurnRequest
from ossia.checkpoint.find import find_model
from ossia.engine.engine import Engine
from ossia.engine.options import LoadOptions
from ossia.engine.request import SamplingParams
from ossia.harmony.messages import Conversation, FunctionTool, Message
from ossia.providers import worker
from ossia.providers.ipc import (
    Accepted,
    Cancel,
    Failed,
    Forced,
    Heartbeat,
    LoadFailed,
    LoadProgress,
    Ready,
    StartCompletion,
    StartTurn,
    TurnEvent,
    TurnRefused,
    decode,
    encode,
)
from ossia.providers.worker import Worker, serve, served

GREEDY = SamplingParams(temperature=0, max_tokens=64)


class Pipe:
    """What the server would read."""

    def __init__(self):
        self._frames = []
        self._came = threading.Condition()

    def send(self, lines):
        with self._came:
            self._frames += map(decode, lines.splitlines())
            self._came.notify_all()

    def frames(self, request_id):
        return [each for each in self._frames if getattr(each, "id", None) == request_id]

    def wait(self, is_there):
        with self._came:
            assert self._came.wait_for(lambda: any(map(is_there, self._frames)), 20)

    def events(self, request_id):
        self.wait(lambda each: isinstance(each, TurnEvent) and is_end(each, request_id))
        return [each.event for each in self.frames(request_id) if isinstance(each, TurnEvent)]


def is_end(frame, request_id):
    return frame.id == request_id and isinstance(frame.event, Finished)


def ask(text, params=GREEDY, **turn):
    spoken = Conversation(messages=(Message(role="user", content=text),), effort="low")
    return TurnRequest(conversation=spoken, params=params, **turn)


@pytest.fixture(scope="module")
def llm():
    with LLM() as opened:
        yield opened


@pytest.fixture
def pipe():
    return Pipe()


@pytest.fixture
def running(pipe):
    with LLM() as opened:
        one = Worker(opened, pipe.send)
        yield one
        one.close()


def test_a_turn_comes_out_as_the_library_writes_it(running, pipe, llm):
    running.take(StartTurn(1, ask("What is 3 + 4?")))
    found = collect(pipe.events(1))
    expected = llm.chat("What is 3 + 4?", effort="low", params=GREEDY)
    assert (found.text, found.usage) == (expected.text, expected.usage)
    assert isinstance(pipe.frames(1)[0], Accepted)
    assert pipe.frames(1)[0].prompt_tokens == expected.usage.prompt_tokens


def test_many_turns_at_once_are_told_apart(running, pipe, llm):
    for number in range(12):
        running.take(StartTurn(number, ask(f"What is 3 + {number}?")))
    for number in range(12):
        expected = llm.chat(f"What is 3 + {number}?", effort="low", params=GREEDY)
        assert collect(pipe.events(number)).text == expected.text


def test_raw_text_is_gone_on_from(running, pipe):
    running.take(
        StartCompletion(1, RawRequest(prompt="Hello", params=SamplingParams(max_tokens=4)))
    )
    *pieces, end = pipe.events(1)
    assert all(isinstance(each, TextDelta) for each in pieces)
    assert end.usage.completion_tokens == 4


def test_what_has_no_meaning_is_refused_with_its_place(running, pipe):
    running.take(StartTurn(1, ask("word " * 4000)))
    pipe.wait(lambda each: isinstance(each, TurnRefused))
    (refused,) = pipe.frames(1)
    assert refused.code == "context_length_exceeded"


def test_a_grammar_that_cannot_be_held_is_refused_where_it_stood(running, pipe):
    tool = FunctionTool(name="f", input_format="text", grammar=("lark", "start: nothing"))
    found = Conversation(messages=(Message(role="user", content="Hi"),), functions=(tool,))
    paths = {"f": "tools[2].format.definition"}
    sent = decode(encode(StartTurn(1, TurnRequest(conversation=found, schema_paths=paths))))
    running.take(sent)
    pipe.wait(lambda each: isinstance(each, TurnRefused))
    (refused,) = pipe.frames(1)
    assert refused.param == "tools[2].format.definition"
    assert "cannot be read at its line 1" in refused.message


def test_a_cancelled_turn_is_silent_and_leaves_nothing_running(running, pipe):
    endless = SamplingParams(temperature=0, max_tokens=1500, logit_bias={1: 100.0})
    running.take(StartCompletion(1, RawRequest(prompt="Hello", params=endless)))
    pipe.wait(lambda each: isinstance(each, TurnEvent) and each.id == 1)
    running.take(Cancel(1))
    deadline = time.monotonic() + 10
    while running._llm.load.running and time.monotonic() < deadline:
        time.sleep(0.01)
    assert running._llm.load.running == 0
    assert not any(isinstance(each, TurnEvent) and is_end(each, 1) for each in pipe.frames(1))


def test_a_turn_may_be_cancelled_before_it_begins(running, pipe):
    for number in range(20):
        running.take(StartTurn(number, ask("Hi")))
        running.take(Cancel(number))
    running.take(StartTurn(99, ask("What is 1 + 1?")))
    pipe.events(99)
    assert running._llm.load.waiting == 0


def test_a_stop_string_leaves_nothing_running(running, pipe):
    params = SamplingParams(temperature=0, max_tokens=1500, stop=["1"], logit_bias={})
    running.take(StartCompletion(1, RawRequest(prompt="1 1 1 1 1 1 1", params=params)))
    assert pipe.events(1)[-1].reason in ("stop", "length")
    running.take(StartTurn(2, ask("What is 1 + 1?")))
    pipe.events(2)
    assert running._llm.load.running == 0


def test_spent_reasoning_is_reported(running, pipe):
    spoken = Conversation(messages=(Message(role="user", content="What is 12 + 34?"),))
    request = TurnRequest(conversation=spoken, params=GREEDY, max_analysis_tokens=2)
    running.take(StartTurn(1, request))
    pipe.events(1)
    assert Forced(1, "budget") in pipe.frames(1)


def test_a_fault_of_ours_ends_its_turn_only(running, pipe, monkeypatch):
    monkeypatch.setattr(worker.LLM, "prepare_turn", lambda self, request: 1 // 0)
    running.take(StartTurn(1, ask("Hi")))
    pipe.wait(lambda each: isinstance(each, Failed))
    monkeypatch.undo()
    running.take(StartTurn(2, ask("Hi")))
    assert pipe.events(2)


def test_a_fault_in_the_engine_ends_what_ran_in_the_step(running, pipe, monkeypatch):
    step = Engine.step
    monkeypatch.setattr(Engine, "step", lambda self: 1 // 0)
    running.take(StartTurn(1, ask("Hi")))
    pipe.wait(lambda each: isinstance(each, Failed) and each.id == 1)
    monkeypatch.setattr(Engine, "step", step)
    running.take(StartTurn(2, ask("Hi")))
    assert pipe.events(2)


def test_a_turn_that_cannot_be_read_ends_alone(running, pipe, monkeypatch):
    push = chat_turn.OutputParser.push
    monkeypatch.setattr(chat_turn.OutputParser, "push", lambda self, token: 1 // 0)
    running.take(StartTurn(1, ask("Hi")))
    pipe.wait(lambda each: isinstance(each, Failed) and each.id == 1)
    monkeypatch.setattr(chat_turn.OutputParser, "push", push)
    running.take(StartTurn(2, ask("Hi")))
    assert pipe.events(2)


def test_it_beats(running, pipe):
    pipe.wait(lambda each: isinstance(each, Heartbeat))


def test_closing_ends_what_runs(pipe):
    endless = SamplingParams(max_tokens=1500, logit_bias={1: 100.0})
    with LLM() as opened:
        one = Worker(opened, pipe.send)
        one.take(StartCompletion(1, RawRequest(prompt="Hello", params=endless)))
        pipe.wait(lambda each: isinstance(each, TurnEvent) and each.id == 1)
        one.close()
    assert pipe.events(1)[-1].reason == "cancelled"


def test_only_requests_are_taken(running):
    with pytest.raises(ValueError, match="LoadFailed is not for"):
        running.take(LoadFailed("no"))


def test_a_process_opens_what_its_first_line_names(pipe):
    lines = (LoadOptions(model="nano"), StartTurn(1, ask("Hi")), Cancel(1))
    assert serve(io.BytesIO(b"".join(map(encode, lines))), pipe.send) == 0
    kinds = {type(each) for each in pipe._frames}
    assert {LoadProgress, Ready} <= kinds


def test_a_process_says_why_it_opens_nothing(pipe, tmp_path):
    lines = encode(LoadOptions(model=str(tmp_path)))
    assert serve(io.BytesIO(lines), pipe.send) == 1
    (failure,) = [each for each in pipe._frames if isinstance(each, LoadFailed)]
    assert "config.json" in failure.message


def test_what_is_served_is_told(llm):
    found = served(llm)
    assert (found.name, found.context_length) == ("nano", 2048)
    assert set(found.control_ids) == set(llm.tokenizer.control.values())
    assert found.fingerprint == served(llm).fingerprint


def test_a_model_without_a_tokenizer_is_not_served(pipe, tmp_path):
    for path in find_model("nano").iterdir():
        if path.name != "tokenizer.json":
            shutil.copy(path, tmp_path)
    assert serve(io.BytesIO(encode(LoadOptions(model=str(tmp_path)))), pipe.send) == 1
    (failure,) = [each for each in pipe._frames if isinstance(each, LoadFailed)]
    assert "tokenizer.json" in failure.message
