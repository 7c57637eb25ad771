"""Raw texts go on as OpenAI's old API says, or are refused by the path of what is wrong."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai import APIError, BadRequestError, NotFoundError, OpenAI
from openai.types import Completion

from ossia.chat.events import Event, PartStarted, TextDelta, TokenLogprob, Usage
from ossia.chat.request import RawRequest
from ossia.errors import ContextOverflow, ProviderUnavailable, RequestError
from ossia.server import completions
from ossia.server.api.json_body import parse_body
from ossia.server.completions.request import CompletionRequest, ParsedCompletionRequest, to_turns
from ossia.server.completions.writer import CompletionFold, CompletionWriter
from tests.server.scripted import ScriptedEngine, finished, served_model
from tests.server.serving import client_of

HEAD = {
    "id": "cmpl-1",
    "object": "text_completion",
    "created": 1_700_000_000,
    "model": "nano",
    "system_fingerprint": "fp_1",
}


def parse(document: dict[str, Any], *, allow: bool = False) -> ParsedCompletionRequest:
    form = parse_body(json.dumps({"prompt": "Once", **document}).encode(), CompletionRequest)
    return to_turns(form, served_model(), allow_control_ids=allow)


def scored(token: str, logprob: float) -> TextDelta:
    return TextDelta(
        token,
        (
            TokenLogprob(
                token, 1, logprob, (TokenLogprob(token, 1, logprob), TokenLogprob("z", 2, -9.0))
            ),
        ),
    )


def written(found: ParsedCompletionRequest, *turns: list[Event]) -> list[dict[str, Any]]:
    writer = CompletionWriter(HEAD, found)
    chunks = writer.begin()
    for number, turn in enumerate(turns):
        for event in turn:
            chunks += writer.push(number, event)
    return chunks + writer.end()


def whole(found: ParsedCompletionRequest, *turns: list[Event]) -> dict[str, Any]:
    fold = CompletionFold(found)
    for chunk in written(found, *turns):
        fold.add(chunk)
    answer = fold.answer(HEAD)
    Completion.model_validate(json.loads(json.dumps(answer)), strict=True)
    return answer


def test_the_plainest_request_asks_for_openais_defaults() -> None:
    found = parse({})
    (request,) = found.requests()
    assert request.prompt == "Once"
    assert (request.params.temperature, request.params.max_tokens) == (1.0, 16)
    assert (request.params.logprobs, found.streams, found.includes_usage) == (None, False, True)


def test_every_optional_field_may_be_null() -> None:
    nulls = dict.fromkeys(set(CompletionRequest.model_fields) - {"prompt"})
    assert parse(nulls) == parse({})


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a", ("a",)),
        (["a"], ("a",)),
        (["a", "b"], ("a", "b")),
        ([1, 2], ((1, 2),)),
        ([[1, 2], [3]], ((1, 2), (3,))),
        (["a", [3]], ("a", (3,))),
    ],
)
def test_a_prompt_in_every_form(prompt: Any, expected: Any) -> None:
    assert parse({"prompt": prompt}).prompts == expected


def test_control_ids_need_the_operators_leave() -> None:
    with pytest.raises(RequestError, match="control id 95") as caught:
        parse({"prompt": [[1], [2, 95]]})
    assert caught.value.param == "prompt[1][1]"
    assert parse({"prompt": [1, 95]}, allow=True).prompts == ((1, 95),)


def test_more_ids_than_the_context_holds_are_refused_with_its_size() -> None:
    with pytest.raises(ContextOverflow) as caught:
        parse({"prompt": [1] * 4097})
    assert (caught.value.prompt_tokens, caught.value.limit) == (4097, 4096)


BAD: list[tuple[dict[str, Any], str]] = [
    *[({"prompt": bad}, "prompt") for bad in (None, "", [], {}, 5, True, ["a"] * 9)],
    ({"prompt": [True]}, "prompt[0]"),
    ({"prompt": ["a", ""]}, "prompt[1]"),
    ({"prompt": [[1], []]}, "prompt[1]"),
    ({"prompt": [[1], 5]}, "prompt[1]"),
    ({"prompt": [1, "a"]}, "prompt[1]"),
    ({"prompt": [1, True]}, "prompt[1]"),
    ({"prompt": [-1]}, "prompt[0]"),
    ({"prompt": [1, 100]}, "prompt[1]"),
    ({"prompt": [201_088]}, "prompt[0]"),
    ({"prompt": [95]}, "prompt[0]"),
    ({"prompt": ["a"] * 8, "n": 8}, "prompt"),
    ({"suffix": "end"}, "suffix"),
    ({"suffix": 5}, "suffix"),
    *[({"n": bad}, "n") for bad in (0, 9, 10**6, "1", True)],
    *[({"best_of": bad}, "best_of") for bad in (0, 9, 10**6, "1")],
    ({"n": 3, "best_of": 2}, "best_of"),
    ({"n": 1, "best_of": 2, "stream": True}, "best_of"),
    *[({"logprobs": bad}, "logprobs") for bad in (-1, 21, 10**6, True, "3")],
    *[({"max_tokens": bad}, "max_tokens") for bad in (0, -1, 2**31, 2**63, 1.5, "5", True)],
    ({"echo": 1}, "echo"),
    ({"echo": True, "logprobs": 1}, "echo"),
    ({"echo": True, "prompt": [1]}, "echo"),
    ({"logit_bias": {"95": 1}}, "logit_bias.95"),
    ({"temperature": "hot"}, "temperature"),
    ({"stream": "yes"}, "stream"),
    ({"user": 5}, "user"),
]


@pytest.mark.parametrize(("document", "param"), BAD)
def test_a_bad_field_is_refused_by_its_path(document: dict[str, Any], param: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse(document)
    assert caught.value.param == param
    assert len(str(caught.value)) < 400


def test_a_missing_prompt_is_named() -> None:
    with pytest.raises(RequestError) as caught:
        parse_body(b"{}", CompletionRequest)
    assert (caught.value.param, caught.value.code) == ("prompt", "missing_field")


def test_an_empty_suffix_asks_for_nothing() -> None:
    assert parse({"suffix": ""}) == parse({})


def test_candidates_of_a_prompt_draw_from_seeds_of_their_own() -> None:
    requests = parse({"prompt": ["a", "b"], "n": 2, "seed": 7}).requests()
    assert [each.prompt for each in requests] == ["a", "a", "b", "b"]
    seeds = [each.params.seed for each in requests]
    assert seeds[0] == 7
    assert seeds[:2] == seeds[2:]
    assert seeds[0] != seeds[1]


def test_a_text_is_its_pieces_and_an_end() -> None:
    found = parse({"stream": True, "stream_options": {"include_usage": True}})
    chunks = written(found, [TextDelta("He"), TextDelta("llo"), *finished()])
    assert [chunk["choices"][0]["text"] for chunk in chunks[:-1]] == ["He", "llo", ""]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks[:-1]] == [None, None, "stop"]
    assert all(chunk["usage"] is None for chunk in chunks[:-1])
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["total_tokens"] == 18


def test_a_stream_tells_no_usage_unasked() -> None:
    chunks = written(parse({"stream": True}), [TextDelta("a"), *finished()])
    assert not any("usage" in chunk for chunk in chunks)


def test_an_echoed_prompt_comes_first() -> None:
    found = parse({"prompt": ["a", "b"], "echo": True, "n": 2})
    turns = [[TextDelta(str(number)), *finished()] for number in range(4)]
    texts = [choice["text"] for choice in whole(found, *turns)["choices"]]
    assert texts == ["a0", "a1", "b2", "b3"]


def test_usage_counts_each_prompt_once_and_every_candidate() -> None:
    found = parse({"prompt": ["a", "b"], "best_of": 2})
    turn = [scored("a", -1.0), *finished("stop", Usage(5, 2, 0, 1))]
    assert whole(found, turn, turn, turn, turn)["usage"] == {
        "prompt_tokens": 10,
        "completion_tokens": 8,
        "total_tokens": 18,
        "prompt_tokens_details": {"cached_tokens": 2},
    }


def test_the_likeliest_candidates_are_given_in_the_order_they_were_drawn() -> None:
    found = parse({"n": 2, "best_of": 4})
    turns = [
        [scored("a", -1.0), scored("b", -3.0), *finished()],
        [scored("c", -9.0), *finished()],
        [scored("d", -0.5), *finished("length")],
        finished(),
    ]
    answer = whole(found, *turns)
    assert [(each["index"], each["text"]) for each in answer["choices"]] == [(0, "ab"), (1, "d")]
    assert [each["finish_reason"] for each in answer["choices"]] == ["stop", "length"]
    assert all(each["logprobs"] is None for each in answer["choices"])


def test_logprobs_stand_in_columns_with_offsets() -> None:
    found = parse({"logprobs": 2})
    answer = whole(
        found, [scored("He", -1.0), TextDelta("y"), scored("llo", float("-inf")), *finished()]
    )
    assert answer["choices"][0]["logprobs"] == {
        "tokens": ["He", "llo"],
        "token_logprobs": [-1.0, -9999.0],
        "top_logprobs": [{"He": -1.0, "z": -9.0}, {"llo": -9999.0, "z": -9.0}],
        "text_offset": [0, 3],
    }


def test_of_two_tokens_with_one_spelling_the_likelier_is_told() -> None:
    twice = TextDelta(
        "a", (TokenLogprob("a", 1, -1.0, (TokenLogprob("a", 1, -1.0), TokenLogprob("a", 2, -2.0))),)
    )
    logprobs = whole(parse({"logprobs": 2}), [twice, *finished()])["choices"][0]["logprobs"]
    assert logprobs["top_logprobs"] == [{"a": -1.0}]


def test_no_logprobs_at_all_are_null() -> None:
    assert whole(parse({"logprobs": 0}), finished())["choices"][0]["logprobs"] is None


def test_a_raw_turn_has_no_parts() -> None:
    with pytest.raises(AssertionError):
        written(parse({}), [PartStarted("final")])


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
TURNS = st.lists(TEXTS, max_size=5)


@given(st.lists(TURNS, min_size=2, max_size=2), st.booleans(), st.booleans())
def test_chunks_add_up_to_what_was_said(turns: list[list[str]], echo: bool, in_one: bool) -> None:
    document = {"n": 2} if in_one else {"prompt": ["Once", "Once"]}
    found = parse({**document, "echo": echo})
    events = [[*(TextDelta(piece) for piece in turn), *finished()] for turn in turns]
    prefix = "Once" if echo else ""
    texts = [choice["text"] for choice in whole(found, *events)["choices"]]
    assert texts == [prefix + "".join(turn) for turn in turns]


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[ScriptedEngine, OpenAI]]:
    engine = ScriptedEngine()
    with client_of(engine, completions.routes) as client:
        yield engine, client


@pytest.fixture
def engine(served: tuple[ScriptedEngine, OpenAI]) -> ScriptedEngine:
    served[0].play([[TextDelta("He"), TextDelta("llo"), *finished("length")]])
    return served[0]


@pytest.fixture
def client(engine: ScriptedEngine, served: tuple[ScriptedEngine, OpenAI]) -> OpenAI:
    return served[1]


def lenient(client: OpenAI) -> OpenAI:
    """OpenAI's types forbid the null finish_reason that its own streams of this API have."""
    return client.with_options(_extra_kwargs={"_strict_response_validation": False})


def test_a_text_in_one_piece(engine: ScriptedEngine, client: OpenAI) -> None:
    found = client.completions.create(model="nano", prompt=["a", "b"], n=2, max_tokens=5)
    assert [choice.text for choice in found.choices] == ["Hello"] * 4
    assert [choice.index for choice in found.choices] == [0, 1, 2, 3]
    assert found.choices[0].finish_reason == "length"
    assert found.id.startswith("cmpl-")
    assert (found.model, found.created) == ("nano", 1_795_219_200)
    raw = engine.requests[0]
    assert isinstance(raw, RawRequest)
    assert (raw.prompt, raw.params.max_tokens) == ("a", 5)


def test_a_text_as_a_stream(client: OpenAI) -> None:
    stream = lenient(client).completions.create(
        model="nano",
        prompt="Say: ",
        echo=True,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    assert "".join(chunk.choices[0].text for chunk in chunks[:-1]) == "Say: Hello"
    assert chunks[-2].choices[0].finish_reason == "length"
    assert chunks[-1].usage is not None


def test_a_bad_request_and_another_model(client: OpenAI) -> None:
    with pytest.raises(BadRequestError) as caught:
        client.completions.create(model="nano", prompt="a", suffix="b")
    assert caught.value.param == "suffix"
    with pytest.raises(NotFoundError):
        client.completions.create(model="other", prompt="a")


def test_the_operator_may_let_control_ids_in() -> None:
    engine = ScriptedEngine([[TextDelta("a"), *finished()]])
    with client_of(engine, completions.routes, allow_control_ids=True) as client:
        found = client.completions.create(model="nano", prompt=[1, 95], user="u")
    assert found.choices[0].text == "a"


def test_ignored_fields_are_named_in_a_header(client: OpenAI) -> None:
    answered = client.completions.with_raw_response.create(model="nano", prompt="a", user="u")
    assert answered.headers["x-ossia-ignored"] == "user"


def test_a_late_error_ends_the_stream(engine: ScriptedEngine, client: OpenAI) -> None:
    engine.play([[TextDelta("He"), ProviderUnavailable("the engine died")]])
    stream = lenient(client).completions.create(model="nano", prompt="a", stream=True)
    with pytest.raises(APIError, match="the engine died"):
        list(stream)


def test_a_client_that_goes_away_ends_its_turns() -> None:
    engine = ScriptedEngine([[*(TextDelta("x") for _ in range(10_000)), *finished()]], pause=0.002)
    with client_of(engine, completions.routes) as client:
        stream = lenient(client).completions.create(model="nano", prompt="a", n=2, stream=True)
        next(iter(stream))
        stream.close()
        end = time.monotonic() + 2
        while not all(each.is_closed for each in engine.streams):
            assert time.monotonic() < end, "a turn goes on for nobody"
            time.sleep(0.005)
    assert len(engine.streams) == 2
