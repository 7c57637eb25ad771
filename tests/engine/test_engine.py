import numpy as np
import pytest

from ossia.engine.request import EngineRequest, SamplingParams, Unconstrained
from ossia.errors import ContextOverflow, RequestError
from ossia.model.forward_batch import ForwardBatch

GREEDY = SamplingParams(temperature=0, max_tokens=12)


def drain(engine, *requests):
    """Submit all, run to the end; the tokens and the reason of each."""
    ids = [
        engine.submit(EngineRequest(prompt, params, constraint))
        for prompt, params, constraint in requests
    ]
    tokens, reasons = {one: [] for one in ids}, {}
    while not engine.idle:
        for event in engine.step():
            if event.sampled is not None:
                tokens[event.request_id].append(event.sampled.token_id)
            if event.finish_reason is not None:
                reasons[event.request_id] = event.finish_reason
    return [(tokens[one], reasons[one]) for one in ids]


def prompt(seed, length):
    return np.random.default_rng(seed).integers(0, 512, length).tolist()


def test_greedy_tokens_are_the_likeliest_of_the_whole_text(engine_of, model):
    first = prompt(0, 21)
    ((tokens, reason),) = drain(engine_of(), (first, GREEDY, Unconstrained()))
    text = first + tokens
    batch = ForwardBatch.without_cache([text], window=model.config.sliding_window)
    expected = model.forward(batch, None).argmax(axis=1)
    assert tokens == expected[len(first) - 1 : -1].tolist()
    assert reason == "length"


@pytest.mark.parametrize(
    "options",
    [{}, {"max_batch_tokens": 8}, {"max_running": 1}, {"pool_tokens": 96, "max_batch_tokens": 16}],
    ids=["together", "in chunks", "one by one", "short of pages"],
)
def test_tokens_do_not_depend_on_what_else_runs(engine_of, options):
    requests = [
        (prompt(seed, 5 + 9 * seed), SamplingParams(seed=seed, max_tokens=20), Unconstrained())
        for seed in range(5)
    ]
    alone = [drain(engine_of(), (ids, params, Unconstrained()))[0] for ids, params, _ in requests]
    assert drain(engine_of(**options), *requests) == alone


def test_a_stream_gets_a_token_in_every_step_while_a_long_prompt_is_read(engine_of):
    engine = engine_of(max_batch_tokens=64)
    stream = engine.submit(
        EngineRequest(prompt(0, 5), SamplingParams(seed=0, max_tokens=40), Unconstrained())
    )
    engine.step()
    late = engine.submit(EngineRequest(prompt(1, 80), GREEDY, Unconstrained()))
    owners = [{event.request_id for event in engine.step()} for _ in range(20)]
    assert all(stream in each for each in owners)
    # 8 tokens of the prompt in a step beside the stream; what is left of a page runs as one
    assert [late in each for each in owners].index(True) == 9


def test_ends_at_a_stop_id_and_reports_it(engine_of):
    ((tokens, _),) = drain(engine_of(), (prompt(0, 5), GREEDY, Unconstrained()))
    params = SamplingParams(temperature=0, max_tokens=12, stop_token_ids=[tokens[3]])
    ((stopped, reason),) = drain(engine_of(), (prompt(0, 5), params, Unconstrained()))
    assert reason == "stop"
    assert stopped == tokens[: tokens.index(tokens[3]) + 1]


def test_ends_where_the_context_ends(engine_of):
    endless = SamplingParams(temperature=0)
    ((tokens, reason),) = drain(engine_of(), (prompt(0, 90), endless, Unconstrained()))
    assert (len(tokens), reason) == (6, "length")


def test_a_cancelled_request_gives_no_more_events_and_its_pages(engine_of):
    engine = engine_of(max_running=1)
    first = engine.submit(EngineRequest(prompt(0, 9), GREEDY, Unconstrained()))
    second = engine.submit(EngineRequest(prompt(1, 9), GREEDY, Unconstrained()))
    engine.step()
    engine.cancel(first)
    engine.cancel(first)
    events = [event for _ in range(20) for event in engine.step()]
    assert {event.request_id for event in events} == {second}
    assert engine.idle


class Scripted:
    """A constraint that forces runs between samples, or fails."""

    def __init__(self, runs, fail_at=None):
        self.runs, self.fail_at = list(runs), fail_at
        self.seen, self.finished = [], False

    def allowed(self):
        if len(self.seen) == self.fail_at:
            raise KeyError("a bug of the constraint")

    def accept(self, token_id):
        self.seen.append(token_id)

    def forced(self, tokens_left):
        return self.runs.pop(0) if self.runs else ()


def test_forced_tokens_are_put_without_sampling_and_seen_by_the_model(engine_of, model):
    engine = engine_of()
    engine.submit(
        EngineRequest(
            prompt(0, 9), SamplingParams(temperature=0, max_tokens=8), Scripted([[5, 6], [7, 8]])
        )
    )
    events = [event for _ in range(20) for event in engine.step()]
    assert [event.forced for event in events] == [True, True, False, True, True] + [False] * 3
    text = prompt(0, 9) + [event.sampled.token_id for event in events]
    batch = ForwardBatch.without_cache([text], window=model.config.sliding_window)
    likeliest = model.forward(batch, None).argmax(axis=1)
    for place, event in enumerate(events, start=9):
        if not event.forced:
            assert text[place] == likeliest[place - 1]


def test_one_request_that_fails_harms_no_other(engine_of):
    engine = engine_of()
    bad = engine.submit(EngineRequest(prompt(0, 9), GREEDY, Scripted([], fail_at=2)))
    good = engine.submit(EngineRequest(prompt(1, 9), GREEDY, Unconstrained()))
    events = [event for _ in range(30) for event in engine.step()]
    last = {event.request_id: event for event in events}
    assert isinstance(last[bad].error, KeyError)
    assert last[bad].finish_reason == "error"
    assert last[good].finish_reason == "length"
    assert engine.idle


def test_refuses_what_cannot_run(engine_of):
    engine = engine_of()
    with pytest.raises(RequestError, match="empty"):
        engine.submit(EngineRequest([], GREEDY, Unconstrained()))
    with pytest.raises(RequestError, match="512"):
        engine.submit(EngineRequest([512], GREEDY, Unconstrained()))
    with pytest.raises(ContextOverflow, match="96 tokens, but the context window holds 96"):
        engine.submit(EngineRequest(prompt(0, 96), GREEDY, Unconstrained()))
    with pytest.raises(RequestError, match="600"):
        engine.submit(EngineRequest([1], SamplingParams(logit_bias={600: 1}), Unconstrained()))


@pytest.mark.parametrize(
    "options",
    [
        {"context_length": 0},
        {"context_length": 200_000},
        {"pool_tokens": 50},
        {"max_cached_prefixes": -1},
        {"max_running": 65, "max_batch_tokens": 64},
    ],
)
def test_refuses_sizes_the_model_cannot_have(engine_of, options):
    with pytest.raises(RequestError):
        engine_of(**options)
