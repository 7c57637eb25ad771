import asyncio
import os
import signal
import sys

import pytest

from ossia.chat.events import Finished, TextDelta, collect
from ossia.chat.request import RawRequest, TurnRequest
from ossia.engine.options import EngineOptions, LoadOptions
from ossia.engine.request import SamplingParams
from ossia.errors import OssiaError, ProviderBusy, ProviderUnavailable, RequestError, TurnFailed
from ossia.harmony.messages import Conversation, Message
from ossia.providers import supervisor as module
from ossia.providers.ipc import Accepted
from ossia.providers.metrics import Metrics
from ossia.providers.supervisor import Supervisor

QUESTION = Conversation(messages=(Message(role="user", content="What is 3 + 4?"),), effort="low")
GREEDY = TurnRequest(conversation=QUESTION, params=SamplingParams(temperature=0, max_tokens=64))
ENDLESS = RawRequest(prompt="Hello", params=SamplingParams(max_tokens=1900, logit_bias={1: 100.0}))
READY = """
import sys, time
from ossia.chat.events import *
from ossia.engine.engine import EngineLoad
from ossia.providers.ipc import *
def say(*frames):
    sys.stdout.buffer.write(b"".join(map(encode, frames))); sys.stdout.buffer.flush()
lines = sys.stdin.buffer
opening = decode(lines.readline())
model = ServedModel(name="m", context_length=9, max_running=1, vocab_size=9, control_ids=(),
    num_params=1, num_bytes=1, backend="b", fingerprint="fp")
"""
"""A process that speaks as an engine does; a test says how it goes on."""


def scripted(script, **options):
    """A supervisor of such a process."""
    command = (sys.executable, "-c", READY + script)
    return Supervisor(LoadOptions(model="m"), Metrics(), command=command, **options)


def run(test, supervisor):
    """Run a test beside a supervisor; it is closed in any case."""

    async def whole():
        supervisor.open()
        try:
            return await asyncio.wait_for(test(supervisor), 30)
        finally:
            await supervisor.close()

    return asyncio.run(whole())


async def read(stream):
    return [event async for event in stream]


async def until(condition, seconds=20):
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.fixture
def nano():
    return Supervisor(LoadOptions(model="nano", engine=EngineOptions(pool_tokens=8192)), Metrics())


def test_a_turn_goes_in_and_its_events_come_out(nano):
    async def test(supervisor):
        await supervisor.opened()
        stream = await supervisor.start(GREEDY)
        return stream.prompt_tokens, collect(await read(stream)), supervisor

    prompt, reply, supervisor = run(test, nano)
    assert (reply.finish_reason, reply.usage.prompt_tokens) == ("stop", prompt)
    assert supervisor.num_turns == 0
    text = supervisor._metrics.text().decode()
    assert f"ossia_generation_tokens_total {reply.usage.completion_tokens}.0" in text
    assert "ossia_time_to_first_token_seconds_count 1.0" in text


def test_a_refused_turn_says_why_and_harms_nobody(nano):
    long = Conversation(messages=(Message(role="user", content="word " * 4000),))

    async def test(supervisor):
        await supervisor.opened()
        with pytest.raises(RequestError) as refused:
            await supervisor.start(TurnRequest(conversation=long))
        return refused.value.code, collect(await read(await supervisor.start(GREEDY)))

    code, reply = run(test, nano)
    assert (code, reply.finish_reason) == ("context_length_exceeded", "stop")


def test_a_killed_engine_ends_its_turns_and_comes_back(nano):
    async def test(supervisor):
        await supervisor.opened()
        before = supervisor.pid
        stream = await supervisor.start(ENDLESS)
        os.kill(before, signal.SIGKILL)
        with pytest.raises(ProviderUnavailable, match="died while it wrote"):
            await read(stream)
        with pytest.raises(ProviderUnavailable):
            await supervisor.start(GREEDY)
        assert not supervisor.is_stepping
        await until(lambda: supervisor.state == "ready")
        assert supervisor.pid != before
        return collect(await read(await supervisor.start(GREEDY))), supervisor

    reply, supervisor = run(test, nano)
    assert reply.finish_reason == "stop"
    assert "ossia_engine_restarts_total 1.0" in supervisor._metrics.text().decode()


def test_closing_a_stream_stops_the_turn(nano):
    async def test(supervisor):
        await supervisor.opened()
        stream = await supervisor.start(ENDLESS)
        async for event in stream:
            assert isinstance(event, TextDelta)
            break
        stream.close()
        stream.close()
        assert supervisor.num_turns == 0
        await until(lambda: supervisor.current.steps and not supervisor.current.running)
        with pytest.raises(TurnFailed, match="cancelled"):
            await read(stream)

    run(test, nano)


def test_a_full_queue_sends_away():
    async def test(supervisor):
        await supervisor.opened()
        streams = [await supervisor.start(ENDLESS) for _ in range(2)]
        with pytest.raises(ProviderBusy, match="2 requests") as busy:
            await supervisor.start(ENDLESS)
        for stream in streams:
            stream.close()
        return busy.value

    options = EngineOptions(max_running=1)
    busy = run(
        test, Supervisor(LoadOptions(model="nano", engine=options), Metrics(), max_waiting=1)
    )
    assert (busy.code, busy.retry_seconds) == ("queue_full", 1)


def test_a_starter_that_leaves_cancels_its_turn():
    async def test(supervisor):
        await supervisor.opened()
        starting = asyncio.create_task(supervisor.start(GREEDY))
        await until(lambda: supervisor.num_turns == 1)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        return supervisor.num_turns

    assert run(test, scripted("say(Ready(model))\nlines.read()")) == 0


def test_a_starter_that_leaves_as_the_answer_comes_harms_nobody():
    async def test(supervisor):
        await supervisor.opened()
        starting = asyncio.create_task(supervisor.start(GREEDY))
        await until(lambda: supervisor.num_turns == 1)
        (request_id,) = supervisor._turns
        starting.cancel()
        supervisor._take(Accepted(request_id, 1))
        with pytest.raises(asyncio.CancelledError):
            await starting
        return supervisor.num_turns, supervisor.restarts

    assert run(test, scripted("say(Ready(model))\nlines.read()")) == (0, 0)


def test_what_nobody_reads_is_given_up(monkeypatch):
    monkeypatch.setattr(module, "MAX_UNREAD", 10)
    script = """
say(Ready(model))
start = decode(lines.readline())
say(Accepted(start.id, 1), *[TurnEvent(start.id, ReasoningDelta("x"))] * 12)
assert decode(lines.readline()) == Cancel(start.id)
say(TurnEvent(start.id, ReasoningDelta("late")), Heartbeat(EngineLoad(7, 0, 0, 0.0, 0)))
lines.read()
"""

    async def test(supervisor):
        await supervisor.opened()
        stream = await supervisor.start(GREEDY)
        await until(lambda: supervisor.current.steps == 7)
        with pytest.raises(TurnFailed, match="nobody read"):
            await read(stream)

    run(test, scripted(script))


def test_a_turn_that_fails_leaves_the_others():
    script = """
say(Ready(model))
one, other = decode(lines.readline()), decode(lines.readline())
say(Accepted(one.id, 1), Accepted(other.id, 1), Failed(one.id), Forced(other.id, "loop"))
say(TurnEvent(other.id, ReasoningDelta("x")))
say(TurnEvent(other.id, Finished("stop", Usage(), Timing())))
lines.read()
"""

    async def test(supervisor):
        await supervisor.opened()
        one, other = await asyncio.gather(supervisor.start(GREEDY), supervisor.start(GREEDY))
        with pytest.raises(TurnFailed, match="failed at this turn"):
            await read(one)
        return await read(other), supervisor

    events, supervisor = run(test, scripted(script))
    assert isinstance(events[-1], Finished)
    assert 'ossia_forced_final_total{reason="loop"} 1.0' in supervisor._metrics.text().decode()


def test_a_server_that_stops_ends_turns_with_an_error():
    script = "say(Ready(model))\nsay(Accepted(decode(lines.readline()).id, 1))\nlines.read()"

    async def test(supervisor):
        await supervisor.opened()
        stream = await supervisor.start(GREEDY)
        supervisor.end_turns("the server is being stopped")
        with pytest.raises(ProviderUnavailable, match="being stopped"):
            await read(stream)

    run(test, scripted(script))


def test_a_model_that_cannot_be_opened_is_told_once(tmp_path):
    async def test(supervisor):
        with pytest.raises(ProviderUnavailable, match="being opened"):
            await supervisor.start(GREEDY)
        with pytest.raises(ProviderUnavailable):
            _ = supervisor.model
        with pytest.raises(OssiaError, match=r"config\.json"):
            await supervisor.opened()
        with pytest.raises(ProviderUnavailable, match="died too often"):
            await supervisor.start(GREEDY)
        return supervisor.state

    assert run(test, Supervisor(LoadOptions(model=str(tmp_path)), Metrics())) == "failed"


def test_an_engine_that_keeps_dying_is_given_up(monkeypatch):
    monkeypatch.setattr(module, "MAX_RESTARTS", 1)

    async def test(supervisor):
        with pytest.raises(OssiaError, match="died while it opened"):
            await supervisor.opened()
        return supervisor.state

    assert run(test, scripted("sys.exit(1)")) == "failed"


def test_deaths_long_ago_are_forgiven(monkeypatch):
    monkeypatch.setattr(module, "MAX_RESTARTS", 1)
    times = iter(range(0, 10**9, 1000))

    async def test(supervisor):
        await until(lambda: supervisor.restarts > 2)

    run(test, scripted("say(Ready(model))\nsys.exit(1)", clock=lambda: next(times)))


def test_babble_is_a_death(caplog):
    async def test(supervisor):
        await until(lambda: supervisor.restarts > 0)

    run(test, scripted("say(Ready(model), Cancel(1))\nlines.read()"))
    assert "the engine sent an invalid frame" in caplog.text


def test_an_engine_that_does_not_leave_is_killed(monkeypatch):
    monkeypatch.setattr(module, "LEAVE_SECONDS", 0.1)

    async def test(supervisor):
        await supervisor.opened()

    run(test, scripted("say(Ready(model))\nlines.read()\ntime.sleep(60)"))


def test_progress_is_passed_on():
    text = []

    async def test(supervisor):
        await supervisor.opened()
        return supervisor.notices, supervisor.is_stepping

    script = "say(LoadProgress('prepare', 0.5), Ready(model, ('a notice',)))\nlines.read()"
    progress = lambda phase, share: text.append((phase, share))  # noqa: E731
    assert run(test, scripted(script, progress=progress)) == (("a notice",), True)
    assert text == [("prepare", 0.5)]


def test_a_silent_engine_and_one_that_stands_still_are_noticed():
    script = """
say(Ready(model), Heartbeat(EngineLoad(1, 1, 0, 0.0, 0)))
say(Accepted(decode(lines.readline()).id, 1))
lines.read()
"""
    now = [0.0]

    async def test(supervisor):
        await supervisor.opened()
        await until(lambda: supervisor.current.steps == 1)
        await supervisor.start(GREEDY)
        assert supervisor.is_stepping
        now[0] = module.SILENT_SECONDS + 1
        assert not supervisor.is_stepping
        supervisor._note_heartbeat(supervisor.current)
        assert supervisor.is_stepping
        now[0] = module.STUCK_SECONDS + 1
        supervisor._note_heartbeat(supervisor.current)
        assert not supervisor.is_stepping

    run(test, scripted(script, clock=lambda: now[0]))


def test_the_engine_is_given_no_secret(monkeypatch):
    monkeypatch.setenv("OSSIA_API_KEY", "sk-local-secret")
    monkeypatch.setenv("EXA_API_KEY", "secret")
    monkeypatch.setenv("OSSIA_THREADS", "1")
    environment = module._environment()
    assert "EXA_API_KEY" not in environment
    assert "OSSIA_API_KEY" not in environment
    assert environment["OSSIA_THREADS"] == "1"


def test_the_engine_imports_nothing_from_the_working_folder(nano, tmp_path, monkeypatch):
    (tmp_path / "json.py").write_text("raise SystemExit(1)")
    monkeypatch.chdir(tmp_path)

    async def test(supervisor):
        await supervisor.opened()
        return supervisor.restarts

    assert run(test, nano) == 0
