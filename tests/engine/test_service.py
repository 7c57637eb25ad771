from concurrent.futures import ThreadPoolExecutor

import pytest

from ossia.engine.request import EngineRequest, SamplingParams, Unconstrained
from ossia.engine.service import EngineService
from ossia.errors import ContextOverflow

PARAMS = SamplingParams(temperature=0, max_tokens=10)


@pytest.fixture
def service(engine_of):
    service = EngineService(engine_of())
    yield service
    service.close()


def ids_of(stream):
    return [event.sampled.token_id for event in stream]


def test_many_threads_read_their_own_tokens(service):
    prompts = [[seed + 1] * (seed + 3) for seed in range(6)]
    alone = [
        ids_of(service.stream(EngineRequest(prompt, PARAMS, Unconstrained()))) for prompt in prompts
    ]
    with ThreadPoolExecutor(6) as threads:
        together = threads.map(
            lambda prompt: ids_of(service.stream(EngineRequest(prompt, PARAMS, Unconstrained()))),
            prompts,
        )
        assert list(together) == alone


def test_closing_a_stream_cancels_and_the_next_request_runs(service):
    endless = service.stream(EngineRequest([1, 2], SamplingParams(temperature=0), Unconstrained()))
    next(endless)
    endless.close()
    with pytest.raises(StopIteration):
        next(endless)
    assert len(ids_of(service.stream(EngineRequest([3], PARAMS, Unconstrained())))) == 10


def test_a_reader_that_walks_away_leaves_nothing_running(service):
    for _ in service.stream(
        EngineRequest([1, 2], SamplingParams(temperature=0, max_tokens=90), Unconstrained())
    ):
        break
    after = ids_of(service.stream(EngineRequest([3], PARAMS, Unconstrained())))
    assert len(after) == 10
    assert service.engine.idle  # the abandoned one had 80 more tokens to write


def test_a_refused_request_raises_before_anything_runs(service):
    with pytest.raises(ContextOverflow):
        service.stream(EngineRequest([1] * 96, PARAMS, Unconstrained()))


class Failing(Unconstrained):
    def allowed(self):
        raise KeyError("a bug of the constraint")


class FailingAtOnce(Unconstrained):
    def forced(self, tokens_left):
        raise KeyError("a bug of the constraint")


@pytest.mark.parametrize("constraint", [Failing, FailingAtOnce])
def test_what_fails_inside_is_raised_to_its_reader_alone(service, constraint):
    with pytest.raises(KeyError):
        ids_of(service.stream(EngineRequest([1], PARAMS, constraint())))
    assert len(ids_of(service.stream(EngineRequest([3], PARAMS, Unconstrained())))) == 10


def test_a_step_that_fails_ends_what_runs_and_the_engine_goes_on(service, monkeypatch, caplog):
    model = service.engine.model
    monkeypatch.setattr(model, "hidden", lambda step, cache: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        ids_of(service.stream(EngineRequest([1], PARAMS, Unconstrained())))
    assert "a step of the engine failed" in caplog.text
    monkeypatch.undo()
    assert len(ids_of(service.stream(EngineRequest([3], PARAMS, Unconstrained())))) == 10


def test_closing_ends_what_runs_as_cancelled(engine_of):
    service = EngineService(engine_of())
    endless = service.stream(EngineRequest([1, 2], SamplingParams(temperature=0), Unconstrained()))
    next(endless)
    service.close()
    assert list(endless)[-1].finish_reason in ("cancelled", "length")
    with pytest.raises(RuntimeError, match="closed"):
        service.stream(EngineRequest([1], PARAMS, Unconstrained()))
