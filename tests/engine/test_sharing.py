"""The prefix cache and draft tokens: neither changes what is written."""

from dataclasses import dataclass
from itertools import count

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.random_checkpoint import SHAPES, random_tensors
from benchmarks.speculation import cases, compare
from ossia.engine.engine import Engine
from ossia.engine.options import EngineOptions, resolve
from ossia.engine.request import EngineRequest, SamplingParams, Unconstrained
from ossia.model.transformer import Transformer
from ossia.model.weights import prepare
from ossia.ops.cpu import CpuOps

PAGE = 8
PLAIN = {"max_cached_prefixes": 0, "speculate": False}


@pytest.fixture(scope="session")
def exact_model():
    """On the backend whose bits depend on a sequence alone."""
    config, ops = SHAPES["tiny"], CpuOps(1)
    return Transformer(config, ops, prepare(config, ops, random_tensors(config, 0)))


@pytest.fixture
def exact_engine(exact_model):
    def make(**options):
        plan = resolve(EngineOptions(**{"context_length": 96, **options}), exact_model.config, PAGE)
        ticks = count()  # every step takes the same time: drafts pay if anything is accepted
        return Engine(exact_model, plan, PAGE, clock=lambda: float(next(ticks)))

    return make


@dataclass(frozen=True)
class Submitted:
    """One request, to be made as often as wanted."""

    prompt: tuple[int, ...]
    params: SamplingParams
    cache_points: tuple[int, ...] = ()
    script: tuple[tuple[int, ...], ...] = ()


class Scripted(Unconstrained):
    """Forces runs after sampled tokens, in turn with none; allows even ids after odd ones."""

    def __init__(self, runs):
        super().__init__()
        self.runs, self.calls, self.last = runs, 0, 0
        self.even = np.arange(512) % 2 == 0

    def allowed(self):
        return self.even if self.last % 2 else None

    def accept(self, token_id):
        self.last = token_id

    def forced(self, tokens_left):
        self.calls += 1
        return self.runs[self.calls // 2] if self.calls // 2 < len(self.runs) else ()


class Running:
    """An engine with requests that come one after another, and all their events."""

    def __init__(self, engine):
        self.engine = engine
        self.events = {}

    def submit(self, request):
        key = self.engine.submit(
            EngineRequest(
                list(request.prompt), request.params, Scripted(request.script), request.cache_points
            )
        )
        self.events[key] = []
        return key

    def step(self):
        for event in self.engine.step():
            self.events[event.request_id].append(event)

    def drain(self):
        while not self.engine.idle:
            self.step()

    def answer(self, key):
        """Choices with their log probabilities, to the bit, and the end."""
        events = self.events[key]
        assert all(event.error is None for event in events), events[-1].error
        return [
            (event.sampled.token_id, str(event.sampled), event.forced, event.finish_reason)
            for event in events
        ]


def alone(make, request):
    running = Running(make(**PLAIN))
    key = running.submit(request)
    running.drain()
    return running.answer(key)


def greedy(prompt, max_tokens=12, **more):
    return Submitted(
        tuple(prompt), SamplingParams(temperature=0, max_tokens=max_tokens, logprobs=3), **more
    )


def words(seed, length):
    return np.random.default_rng(seed).integers(0, 512, length).tolist()


def cached(running, key):
    return running.events[key][-1].cached_tokens


@pytest.mark.parametrize("length", [1, 2, 7, 8, 9, 16, 17, 40, 80])
def test_the_same_prompt_again_reads_one_token_and_says_the_same(exact_engine, length):
    request = greedy(words(1, length))
    running = Running(exact_engine(speculate=False, pool_tokens=400))
    for expected in (0, length - 1, length - 1):
        key = running.submit(request)
        running.drain()
        assert running.answer(key) == alone(exact_engine, request)
        assert cached(running, key) == expected


@pytest.mark.parametrize("more", [1, 8, 30])
@pytest.mark.parametrize("length", [5, 8, 33])
def test_a_longer_prompt_goes_on_where_an_earlier_one_ended(exact_engine, length, more):
    running = Running(exact_engine())
    running.submit(greedy(words(1, length)))
    running.drain()
    longer = greedy(words(1, length) + words(2, more))
    key = running.submit(longer)
    running.drain()
    assert running.answer(key) == alone(exact_engine, longer)
    assert cached(running, key) == length


def test_a_prompt_goes_on_where_an_answer_ended(exact_engine):
    running = Running(exact_engine())
    first = running.submit(greedy(words(1, 20)))
    running.drain()
    answer = [token for token, *_ in running.answer(first)]
    longer = greedy(words(1, 20) + answer + words(2, 5))
    key = running.submit(longer)
    running.drain()
    assert running.answer(key) == alone(exact_engine, longer)
    assert cached(running, key) == 20 + len(answer) - 1


def test_others_part_at_a_boundary(exact_engine):
    running = Running(exact_engine())
    running.submit(greedy(words(1, 27) + words(2, 10), cache_points=(27,)))
    running.drain()
    other = greedy(words(1, 27) + words(3, 10))
    key = running.submit(other)
    running.drain()
    assert running.answer(key) == alone(exact_engine, other)
    assert cached(running, key) == 27


def test_many_that_arrive_together_read_what_they_share_once(exact_engine):
    several = [greedy(words(1, 50) + words(seed, 9)) for seed in range(2, 6)]
    running = Running(exact_engine(pool_tokens=400))
    keys = [running.submit(each) for each in several]
    running.drain()
    assert [running.answer(key) for key in keys] == [alone(exact_engine, each) for each in several]
    assert [cached(running, key) for key in keys] == [0, 50, 50, 50]


def test_two_that_run_together_share_what_the_first_has_read(exact_engine):
    first, second = greedy(words(1, 60), cache_points=(50,)), greedy(words(1, 50) + words(2, 9))
    running = Running(exact_engine(max_batch_tokens=32))
    keys = [running.submit(first), running.submit(second)]
    running.drain()
    assert [running.answer(key) for key in keys] == [
        alone(exact_engine, each) for each in (first, second)
    ]
    assert [cached(running, key) for key in keys] == [0, 50]


def test_a_request_that_fails_leaves_nothing_behind(exact_engine):
    class Broken(Unconstrained):
        def accept(self, token_id):
            raise KeyError("a bug of the constraint")

    engine = exact_engine()
    engine.submit(EngineRequest(words(1, 30), SamplingParams(max_tokens=5), Broken()))
    assert engine.step()[-1].finish_reason == "error"
    request = greedy(words(1, 30))
    running = Running(engine)
    key = running.submit(request)
    running.drain()
    assert running.answer(key) == alone(exact_engine, request)


REPEATED = [each // 2 * 2 for each in words(4, 12)] * 4


def steps(engine, request):
    running = Running(engine)
    key = running.submit(request)
    number = 0
    while not engine.idle:
        running.step()
        number += 1
    return number, running.answer(key)


def copying(prompt, max_tokens=40):
    """Biased so that it writes its prompt's words again and again, and nothing but them."""
    bias = {each: 100.0 for each in set(prompt)}
    return Submitted(
        tuple(prompt), SamplingParams(temperature=0, max_tokens=max_tokens, logit_bias=bias)
    )


def test_a_text_that_repeats_itself_takes_fewer_steps(exact_engine):
    request = copying([8] * 20)
    plain, answer = steps(exact_engine(**PLAIN), request)
    fewer, same = steps(exact_engine(max_cached_prefixes=0), request)
    assert same == answer
    assert plain == 40
    assert fewer <= 12


def test_drafts_end_with_the_context_and_with_the_limit(exact_engine):
    for limit in range(1, 24):
        number, answer = steps(exact_engine(context_length=40), copying([8] * 20, limit))
        assert len(answer) == min(limit, 20)


def test_a_stop_id_among_the_drafts_ends_the_answer(exact_engine):
    request = copying(REPEATED)
    _, answer = steps(exact_engine(**PLAIN), request)
    for stop in sorted({token for token, *_ in answer})[:6]:
        params = SamplingParams(
            temperature=0,
            max_tokens=40,
            logit_bias=request.params.logit_bias,
            stop_token_ids=[stop],
        )
        stopping = Submitted(request.prompt, params)
        assert steps(exact_engine(), stopping)[1] == alone(exact_engine, stopping)


params = st.builds(
    SamplingParams,
    temperature=st.sampled_from([0, 0, 0.7, 1.5]),
    top_p=st.sampled_from([1.0, 0.8]),
    repetition_penalty=st.sampled_from([1.0, 1.0, 1.2]),
    seed=st.integers(0, 5),
    logprobs=st.sampled_from([None, 2]),
    logit_bias=st.sampled_from([{}, {1: 12.0, 2: 12.0}, {3: 100.0, 4: 100.0}]),
    max_tokens=st.integers(1, 30),
)
stems = [words(5, 30), [3, 4] * 15, [3] * 30, words(6, 3) * 10]
prompts = st.builds(
    lambda stem, cut, tail: (*stem[:cut], *tail),
    st.sampled_from(stems),
    st.integers(1, 30),
    st.lists(st.integers(0, 5), max_size=25),
)
requests = st.builds(
    Submitted,
    prompts,
    params,
    st.lists(st.integers(0, 40), max_size=2).map(tuple),
    st.lists(st.lists(st.integers(0, 5), max_size=12).map(tuple), max_size=3).map(tuple),
)


@pytest.mark.slow
@settings(
    max_examples=80,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    several=st.lists(requests, min_size=1, max_size=6),
    waits=st.lists(st.integers(0, 12), min_size=6, max_size=6),
    cancelled=st.integers(0, 20),
    options=st.fixed_dictionaries(
        {
            "max_cached_prefixes": st.integers(0, 5),
            "max_running": st.integers(1, 4),
            "max_batch_tokens": st.integers(4, 64),
            "pool_tokens": st.sampled_from([96, 128, 400]),
        }
    ),
)
def test_whatever_runs_beside_it_each_says_what_it_says_alone(
    exact_engine, several, waits, cancelled, options
):
    """Preemption, sharing, drafts and forced runs together; the same bits as with none of them."""
    world = Running(exact_engine(**options))
    keys = []
    for number, (each, wait) in enumerate(zip(several, waits, strict=False)):
        keys.append(world.submit(each))
        for _ in range(wait):
            world.step()
        if number == cancelled:
            world.engine.cancel(keys[-1])
    world.drain()
    for number, (key, each) in enumerate(zip(keys, several, strict=True)):
        expected = alone(exact_engine, each)
        answer = world.answer(key)
        assert answer == (expected[: len(answer)] if number == cancelled else expected)


@pytest.mark.parametrize("name", ["copies", "cycle", "coins", "free"])
def test_the_benchmark_finds_the_same_tokens_with_drafts(exact_engine, name):
    engines = [exact_engine(context_length=300, speculate=each) for each in (False, True)]
    found = compare(tuple(engines), cases(512, 60)[name], rounds=1)
    assert found.same_tokens
    assert found.tokens_per_step >= (2 if name == "copies" else 1)
