"""OpenAI's own client, at its strictest, gets what it asks for; nothing outlives its request."""

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from openai import (
    APIError,
    BadRequestError,
    InternalServerError,
    NotFoundError,
    OpenAI,
    PermissionDeniedError,
    RateLimitError,
)
from pydantic import BaseModel

from ossia.chat.events import TokenLogprob
from ossia.chat.request import TurnRequest
from ossia.errors import OssiaError, ProviderBusy, ProviderUnavailable, RequestError
from ossia.server import chat_completions
from ossia.server.http.guard import LOCAL
from tests.server.scripted import (
    ScriptedEngine,
    answer,
    call,
    finished,
    offering,
    preamble,
    ran,
    thought,
)
from tests.server.serving import client_of

HELLO: Any = [{"role": "user", "content": "Hello"}]
PLAIN = [*thought("hm"), *answer("He", "llo"), *finished()]
CALLING = [
    *thought("hm"),
    *preamble("Now."),
    *call("f", '{"a"', ":1}"),
    *finished("tool_calls"),
]
TOOLS: Any = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[ScriptedEngine, OpenAI]]:
    engine = ScriptedEngine()
    with client_of(engine, chat_completions.routes) as client:
        yield engine, client


@pytest.fixture
def engine(served: tuple[ScriptedEngine, OpenAI]) -> ScriptedEngine:
    served[0].play([PLAIN])
    return served[0]


@pytest.fixture
def client(engine: ScriptedEngine, served: tuple[ScriptedEngine, OpenAI]) -> OpenAI:
    return served[1]


def turns_of(engine: ScriptedEngine) -> list[TurnRequest]:
    assert all(isinstance(each, TurnRequest) for each in engine.requests)
    return [each for each in engine.requests if isinstance(each, TurnRequest)]


def wait_until_closed(engine: ScriptedEngine, *, within: float = 2.0) -> None:
    end = time.monotonic() + within
    while not all(stream.is_closed for stream in engine.streams):
        assert time.monotonic() < end, "a turn goes on for nobody"
        time.sleep(0.005)


def test_an_answer_in_one_piece(client: OpenAI) -> None:
    found = client.chat.completions.create(
        model="nano", messages=HELLO, metadata={"a": "b"}, store=True
    )
    (choice,) = found.choices
    assert (choice.message.content, choice.finish_reason) == ("Hello", "stop")
    assert choice.message.model_extra == {"reasoning": "hm"}
    assert found.id.startswith("chatcmpl-")
    assert (found.model, found.system_fingerprint) == ("nano", "fp_0123456789ab")
    assert (found.created, found.metadata) == (1_795_219_200, {"a": "b"})
    assert found.usage is not None
    assert (found.usage.prompt_tokens, found.usage.total_tokens) == (11, 18)


def test_an_answer_as_a_stream(client: OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(
            model="nano", messages=HELLO, stream=True, stream_options={"include_usage": True}
        )
    )
    texts = [chunk.choices[0].delta.content for chunk in chunks[:-1]]
    assert [text for text in texts if text] == ["He", "llo"]
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None


def test_the_clients_own_accumulator(client: OpenAI) -> None:
    with client.chat.completions.stream(model="nano", messages=HELLO) as stream:
        kinds = {event.type for event in stream}
        found = stream.get_final_completion()
    assert {"chunk", "content.delta", "content.done"} <= kinds
    assert found.choices[0].message.content == "Hello"


def test_a_call_of_a_tool_in_every_form(engine: ScriptedEngine, client: OpenAI) -> None:
    engine.scripts = [CALLING]
    whole = client.chat.completions.create(model="nano", messages=HELLO, tools=TOOLS)
    with client.chat.completions.stream(model="nano", messages=HELLO, tools=TOOLS) as stream:
        streamed = stream.get_final_completion()
    for found in (whole, streamed):
        (choice,) = found.choices
        assert choice.finish_reason == "tool_calls"
        assert choice.message.content == "Now."
        (made,) = choice.message.tool_calls or ()
        assert made.type == "function"
        assert (made.id, made.function.name, made.function.arguments) == ("call_1", "f", '{"a":1}')


def test_a_custom_tool_answers_in_one_piece(engine: ScriptedEngine, client: OpenAI) -> None:
    engine.scripts = [[*call("patch", "***"), *finished("tool_calls")]]
    tools: Any = [{"type": "custom", "custom": {"name": "patch"}}]
    found = client.chat.completions.create(model="nano", messages=HELLO, tools=tools)
    (made,) = found.choices[0].message.tool_calls or ()
    assert made.type == "custom"
    assert (made.custom.name, made.custom.input) == ("patch", "***")
    assert found.choices[0].message.content is None


class Point(BaseModel):
    x: int


def test_an_answer_parsed_into_a_class(engine: ScriptedEngine, client: OpenAI) -> None:
    engine.scripts = [[*thought("hm"), *preamble("Now."), *answer('{"x"', ":3}"), *finished()]]
    parsed = client.chat.completions.parse(model="nano", messages=HELLO, response_format=Point)
    with client.chat.completions.stream(
        model="nano", messages=HELLO, response_format=Point
    ) as stream:
        streamed = stream.get_final_completion()
    for found in (parsed, streamed):
        assert found.choices[0].message.parsed == Point(x=3)
    turn = turns_of(engine)[0]
    assert turn.answer is not None
    assert turn.answer.strict


def test_several_choices_draw_from_seeds_of_their_own(
    engine: ScriptedEngine, client: OpenAI
) -> None:
    scripts = [[*answer(str(number)), *finished()] for number in range(8)]
    engine.scripts = scripts
    found = client.chat.completions.create(model="nano", messages=HELLO, n=8, seed=5)
    assert [choice.message.content for choice in found.choices] == [str(n) for n in range(8)]
    assert [choice.index for choice in found.choices] == list(range(8))
    seeds = [turn.params.seed for turn in turns_of(engine)]
    assert seeds[0] == 5
    assert len(set(seeds)) == 8
    engine.scripts = [*scripts, *scripts[:2]]  # it goes on after the first eight
    client.chat.completions.create(model="nano", messages=HELLO, n=2, seed=5)
    assert [turn.params.seed for turn in turns_of(engine)][8:] == seeds[:2]
    assert found.usage is not None
    assert (found.usage.prompt_tokens, found.usage.completion_tokens) == (11, 56)


def test_several_choices_stream_side_by_side(engine: ScriptedEngine, client: OpenAI) -> None:
    engine.scripts = [[*answer(*"abc"), *finished()], [*answer(*"xyz"), *finished("length")]]
    texts = {0: "", 1: ""}
    ends = {}
    for chunk in client.chat.completions.create(model="nano", messages=HELLO, n=2, stream=True):
        (choice,) = chunk.choices
        texts[choice.index] += choice.delta.content or ""
        ends[choice.index] = choice.finish_reason or ends.get(choice.index)
    assert texts == {0: "abc", 1: "xyz"}
    assert ends == {0: "stop", 1: "length"}


def test_logprobs_reach_the_client(engine: ScriptedEngine, client: OpenAI) -> None:
    scored = TokenLogprob("a", 1, -0.25, (TokenLogprob("a", 1, -0.25),))
    engine.scripts = [[*answer(("a", (scored,))), *finished()]]
    found = client.chat.completions.create(
        model="nano", messages=HELLO, logprobs=True, top_logprobs=1
    )
    assert found.choices[0].logprobs is not None
    (one,) = found.choices[0].logprobs.content or ()
    assert (one.token, one.logprob, one.top_logprobs[0].bytes) == ("a", -0.25, [97])
    assert turns_of(engine)[0].params.logprobs == 1


def test_a_tool_loop_gets_its_exact_tokens_and_its_reasoning_back(
    engine: ScriptedEngine, client: OpenAI
) -> None:
    engine.scripts = [CALLING, PLAIN]
    first = client.chat.completions.create(model="nano", messages=HELLO, tools=TOOLS)
    made = first.choices[0].message.to_dict(exclude_unset=False)
    del made["reasoning"]  # as most clients do
    result = {"role": "tool", "tool_call_id": "call_1", "content": "1"}
    client.chat.completions.create(
        model="nano", messages=[*HELLO, made, result], tools=TOOLS, stream=True
    ).close()
    spoken = turns_of(engine)[1].conversation.messages
    assert [(each.role, each.channel, each.content, each.sampled_ids) for each in spoken] == [
        ("user", None, "Hello", None),
        ("assistant", "analysis", "hm", (1, 2)),
        ("assistant", "commentary", "Now.", (3,)),
        ("assistant", "commentary", '{"a":1}', (6, 7)),
        ("tool", "commentary", "1", None),
    ]


def test_a_tool_loop_gets_back_the_calls_that_ran_here_which_no_client_saw(
    engine: ScriptedEngine, client: OpenAI
) -> None:
    ours = [
        *thought("hm"),
        *preamble("Now."),
        *ran("browser.search", '{"query":"owls"}', text="Owls."),
        *thought("so", ids=(21,)),
    ]
    engine.scripts = [[*ours, *call("f", "{}"), *finished("tool_calls")], PLAIN]
    first = client.chat.completions.create(model="nano", messages=HELLO, tools=TOOLS)
    made = first.choices[0].message.to_dict(exclude_unset=False)
    assert [each["function"]["name"] for each in made["tool_calls"]] == ["f"]
    del made["reasoning"]
    result = {"role": "tool", "tool_call_id": "call_1", "content": "1"}
    client.chat.completions.create(model="nano", messages=[*HELLO, made, result], tools=TOOLS)
    spoken = turns_of(engine)[1].conversation.messages
    assert [(each.role, each.content, each.sampled_ids) for each in spoken[1:]] == [
        ("assistant", "hm", (1, 2)),
        ("assistant", "Now.", (3,)),
        ("assistant", '{"query":"owls"}', (8, 9)),
        ("tool", "Owls.", None),
        ("assistant", "so", (21,)),
        ("assistant", "{}", (6, 7)),
        ("tool", "1", None),
    ]


def test_the_browser_is_offered_by_its_options_to_those_who_may_have_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = ScriptedEngine([PLAIN])
    names = ("browser.search", "browser.open", "browser.find")
    with client_of(engine, chat_completions.routes, tool_sessions=offering(*names)) as client:
        client.chat.completions.create(model="nano", messages=HELLO, web_search_options={})
        assert turns_of(engine)[0].conversation.builtins == ("browser",)
        monkeypatch.setattr(
            "tests.server.serving.LOCAL", replace(LOCAL, scopes=frozenset(["infer"]))
        )
        with pytest.raises(PermissionDeniedError) as caught:
            client.chat.completions.create(model="nano", messages=HELLO, web_search_options={})
        assert caught.value.code == "missing_scope"


def test_a_result_alone_finds_its_call(engine: ScriptedEngine, client: OpenAI) -> None:
    engine.scripts = [CALLING, PLAIN]
    client.chat.completions.create(model="nano", messages=HELLO, tools=TOOLS)
    result: Any = {"role": "tool", "tool_call_id": "call_1", "content": "1"}
    client.chat.completions.create(model="nano", messages=[*HELLO, result], tools=TOOLS)
    spoken = turns_of(engine)[1].conversation.messages
    assert spoken[-2].recipient == "functions.f"
    assert spoken[-1].name == "functions.f"


def test_what_one_key_said_is_not_known_to_another(engine: ScriptedEngine, client: OpenAI) -> None:
    engine.scripts = [CALLING, PLAIN]
    client.chat.completions.create(model="nano", messages=HELLO, tools=TOOLS)
    result: Any = {"role": "tool", "tool_call_id": "call_1", "content": "1"}
    with pytest.raises(BadRequestError) as caught:
        client.chat.completions.create(
            model="nano", messages=[*HELLO, result], extra_headers={"x-owner": "somebody"}
        )
    assert caught.value.param == "messages[1].tool_call_id"


def test_raw_reasoning_stays_inside_if_the_operator_says_so(engine: ScriptedEngine) -> None:
    with client_of(engine, chat_completions.routes, raw_reasoning=False) as client:
        found = client.chat.completions.create(model="nano", messages=HELLO)
    assert found.choices[0].message.model_extra == {}


def test_ignored_fields_are_named_in_a_header(client: OpenAI) -> None:
    for streams in (False, True):
        with client.chat.completions.with_streaming_response.create(
            model="nano", messages=HELLO, service_tier="flex", stream=streams
        ) as answered:
            assert answered.headers["x-ossia-ignored"] == "service_tier"


@pytest.mark.parametrize("name", ["gpt-4", "other"])
def test_another_model_is_not_found(client: OpenAI, name: str) -> None:
    with pytest.raises(NotFoundError) as caught:
        client.chat.completions.create(model=name, messages=HELLO)
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


def test_a_long_request_is_read_as_a_short_one(engine: ScriptedEngine, client: OpenAI) -> None:
    long: Any = [{"role": "user", "content": "x" * 100_000}]
    assert client.chat.completions.create(model="nano", messages=long).choices
    assert turns_of(engine)[0].conversation.messages[0].text == "x" * 100_000


@pytest.mark.parametrize("streams", [False, True])
def test_a_bad_request_is_refused_before_any_stream(client: OpenAI, streams: bool) -> None:
    with pytest.raises(BadRequestError) as caught:
        client.chat.completions.create(model="nano", messages=HELLO, stream=streams, temperature=5)
    assert caught.value.param == "temperature"


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("num_choices", [1, 3])
@pytest.mark.parametrize(
    ("refusal", "kind"),
    [
        (RequestError("too long", code="context_length_exceeded"), BadRequestError),
        (ProviderBusy("full", code="queue_full"), RateLimitError),
        (ProviderUnavailable("loading"), InternalServerError),
    ],
)
def test_what_the_engine_refuses_is_a_status(
    engine: ScriptedEngine,
    client: OpenAI,
    streams: bool,
    num_choices: int,
    refusal: Exception,
    kind: type[APIError],
) -> None:
    engine.scripts = [PLAIN, refusal] if num_choices > 1 else [refusal]
    with pytest.raises(kind):
        client.chat.completions.create(model="nano", messages=HELLO, stream=streams, n=num_choices)
    wait_until_closed(engine)


LATE = [
    (ProviderUnavailable("the engine died", code="engine_died"), "the engine died"),
    (OssiaError("inside"), "failed"),
    (RuntimeError("secret"), "failed"),
]


@pytest.mark.parametrize("num_choices", [1, 2])
@pytest.mark.parametrize(("error", "says"), LATE)
def test_a_late_error_ends_the_stream_with_an_error(
    engine: ScriptedEngine, client: OpenAI, num_choices: int, error: Exception, says: str
) -> None:
    engine.scripts = [[*answer("He")[:2], error]]
    stream = client.chat.completions.create(
        model="nano", messages=HELLO, stream=True, n=num_choices
    )
    texts = []
    with pytest.raises(APIError, match=says) as caught:
        texts.extend(chunk.choices[0].delta.content for chunk in stream)
    assert "He" in texts
    assert "secret" not in str(caught.value)
    wait_until_closed(engine)


@pytest.mark.parametrize("num_choices", [1, 2])
def test_a_late_error_without_a_stream_is_a_status(
    engine: ScriptedEngine, client: OpenAI, num_choices: int
) -> None:
    engine.scripts = [[*answer("He")[:2], ProviderUnavailable("the engine died")]]
    with pytest.raises(InternalServerError):
        client.chat.completions.create(model="nano", messages=HELLO, n=num_choices)
    wait_until_closed(engine)


@pytest.mark.parametrize("num_choices", [1, 2])
def test_a_turn_the_server_cancels_is_an_error_not_an_answer(
    engine: ScriptedEngine, client: OpenAI, num_choices: int
) -> None:
    engine.scripts = [[*answer("He", is_whole=False), *finished("cancelled")]]
    with pytest.raises(APIError, match="stopped"):
        list(
            client.chat.completions.create(model="nano", messages=HELLO, stream=True, n=num_choices)
        )


@pytest.mark.parametrize("num_choices", [1, 3])
def test_a_client_that_goes_away_from_a_stream_ends_its_turns(num_choices: int) -> None:
    engine = ScriptedEngine([[*answer(*"x" * 10_000), *finished()]], pause=0.002)
    with client_of(engine, chat_completions.routes) as client:
        stream = client.chat.completions.create(
            model="nano", messages=HELLO, stream=True, n=num_choices
        )
        next(iter(stream))
        stream.close()
        wait_until_closed(engine)
    assert len(engine.streams) == num_choices
    assert all(each.num_sent < 10_000 for each in engine.streams)


def test_a_client_that_tires_of_waiting_ends_its_turn() -> None:
    engine = ScriptedEngine([[*answer(*"x" * 10_000), *finished()]], pause=0.002)
    with client_of(engine, chat_completions.routes) as client:
        with pytest.raises(APIError):
            client.chat.completions.create(model="nano", messages=HELLO, timeout=0.2)
        wait_until_closed(engine)
    assert len(engine.streams) == 1
