"""One response while it is written, and those in the background, with stores that fail."""

import asyncio
import json
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ossia.chat.events import ApprovalRequested
from ossia.errors import ProviderUnavailable, StoreError, TurnFailed
from ossia.harmony.messages import Message
from ossia.server.api.history import HistoryMessage
from ossia.server.responses.background import RunningResponses, settle_unfinished
from ossia.server.responses.citations import CitedPage
from ossia.server.responses.objects import ResponseSettings
from ossia.server.responses.routes import _Frames, routes
from ossia.server.responses.run import Run
from ossia.server.responses.stored_turn import StoredTurn
from ossia.server.responses.writer import TERMINAL, ResponseWriter
from ossia.store.database import Database
from ossia.store.responses import Responses
from tests.server.responses.wire_rules import check
from tests.server.scripted import (
    ScriptedEngine,
    ScriptedStream,
    answer,
    call,
    finished,
    preamble,
    ran,
    thought,
)
from tests.server.serving import app_of, services_with

PLAIN = [*thought("hm"), *answer("He", "llo"), *finished()]
TURN = StoredTurn(model="fp", date="2026-01-02")


@pytest.fixture
def services():
    with services_with(ScriptedEngine()) as made:
        yield made


def a_run(services, script=PLAIN, *, stores=True, background=False, pause=0.0, resolve=None):
    settings = ResponseSettings(model="nano", store=stores, background=background)
    return Run(
        services=services,
        owner="anna",
        request_id="req_1",
        writer=ResponseWriter(settings, resolve=resolve),
        stream=ScriptedStream(script, pause=pause),
        turn=TURN,
        settings=settings,
        session="anna",
    )


async def written(run):
    await run.begin()
    return [event async for event in run.events()]


def row_of(services, run):
    return services.responses.get(run.writer.id, run.owner).result(5)


class TestARun:
    def test_is_stored_before_its_terminal_event_leaves(self, services):
        async def go():
            run = a_run(services)
            await run.begin()
            async for event in run.events():
                is_last = event["type"] in TERMINAL
                assert row_of(services, run).status == ("completed" if is_last else "in_progress")
            return run, event

        run, last = asyncio.run(go())
        row = row_of(services, run)
        assert json.loads(row.body) == last["response"]
        turn = StoredTurn.from_json(row.turn)
        assert [message.sampled_ids for message in turn.output_messages] == [(1, 2), (4, 5)]
        assert run.stream.is_closed

    def test_that_cites_pages_is_known_again_by_the_text_with_links(self, services):
        def resolve(number, line):
            return CitedPage("https://a.b/x", "A", "a.b")

        async def go():
            script = [*thought("hm"), *answer("See 【1†L3", "】."), *finished()]
            *_, last = await written(a_run(services, script, resolve=resolve))
            text = last["response"]["output"][-1]["content"][0]["text"]
            sent = Message(role="assistant", channel="final", content=text)
            return text, await services.memory.restored("anna", [HistoryMessage(message=sent)])

        text, (found,) = asyncio.run(go())
        assert text == "See  ([a.b](https://a.b/x)) ."
        assert (found.text, found.sampled_ids) == ("See 【1†L3】.", (4, 5))

    @pytest.mark.parametrize("is_whole", [True, False])
    def test_that_asks_for_a_yes_waits_for_it_once_it_is_completed(self, services, is_whole):
        *begun, ended = call("post.send", "{}")
        end = finished("tool_calls") if is_whole else [RuntimeError("oh")]
        script = [
            *thought("hm"),
            *begun,
            ApprovalRequested("call_1", "post.send", "{}"),
            ended,
            *end,
        ]

        async def go():
            run = a_run(services, script)
            *_, last = await written(run)
            item = last["response"]["output"][-1]
            return run, item["id"], await services.memory.waiting("anna", item["id"])

        run, item_id, waiting = asyncio.run(go())
        turn = StoredTurn.from_json(row_of(services, run).turn)
        assert [message.sampled_ids for message in turn.output_messages] == [(1, 2)]
        assert turn.approval_request_id == (item_id if is_whole else None)
        assert (waiting is not None) == is_whole
        if waiting:
            recorded, session = waiting
            assert (recorded.message.text, recorded.call_id, session) == ("{}", "call_1", "anna")

    def test_counts_the_calls_of_its_caller_alone(self, services):
        script = [*ran("python", "2"), *call("f", "{}"), *finished("tool_calls")]
        asyncio.run(written(a_run(services, script)))
        page = services.metrics.text().decode()
        lines = [line for line in page.splitlines() if line.startswith("ossia_tool_calls_total")]
        assert lines == ['ossia_tool_calls_total{outcome="asked",tool="function"} 1.0']

    def test_that_ends_before_it_begins_is_cancelled(self, services):
        async def go():
            run = a_run(services)
            await run.begin()
            await _Frames(run).aclose()
            return run

        run = asyncio.run(go())
        assert run.stream.is_closed
        assert row_of(services, run).status == "cancelled"

    @pytest.mark.parametrize("num_seen", range(1, 16))
    def test_that_nobody_reads_to_the_end_has_an_end_all_the_same(self, services, num_seen):
        async def go():
            run = a_run(services)
            await run.begin()
            frames = _Frames(run)
            for _ in range(num_seen):
                await anext(frames)
            await frames.aclose()
            return run

        run = asyncio.run(go())
        assert run.stream.is_closed
        assert row_of(services, run).status in ("cancelled", "completed")

    def test_that_was_written_but_not_told_ends_as_it_was_written(self, services):
        """The reader leaves between the last item and the terminal event."""
        script = [*thought("hm"), *answer("He")[:-1], *finished("length")]

        async def go():
            run = a_run(services, script)
            await run.begin()
            events = run.events()
            async for event in events:
                if event["type"] == "response.output_item.done" and event["output_index"] == 1:
                    break
            await events.aclose()
            return run

        assert row_of(services, asyncio.run(go())).status == "incomplete"

    def test_whose_task_is_cancelled_leaves_a_cancelled_row(self, services):
        async def go():
            run = a_run(services, pause=0.01)
            task = asyncio.create_task(written(run))
            await asyncio.sleep(0.03)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return run

        run = asyncio.run(go())
        assert run.stream.is_closed
        assert row_of(services, run).status == "cancelled"

    def test_remembers_what_it_wrote(self, services):
        script = [*thought("hm"), *call("f", "{}", call_id="c1"), *finished("tool_calls")]

        async def go(stores):
            await written(a_run(services, script, stores=stores))
            return await services.memory.calls("anna", ["c1"])

        for stores in (True, False):
            (one,) = asyncio.run(go(stores)).values()
            assert one.message.sampled_ids == (6, 7)

    def test_stopped_by_the_server_has_failed(self, services):
        async def go():
            run = a_run(services, pause=0.01)
            await run.begin()
            seen = []
            async for event in run.events():
                seen.append(event)
                run.abort()
                run.cancel()
            return seen

        events = asyncio.run(go())
        check(events)
        assert events[-1]["type"] == "response.failed"
        assert events[-1]["response"]["error"]["message"] == "the server is being stopped"

    def test_cancelled_while_the_engine_writes_is_no_fault(self, services, caplog):
        class Cancelled(ScriptedStream):
            """As the real one: who cancels it and reads on is told so by an exception."""

            async def __aiter__(self):
                async for event in super().__aiter__():
                    yield event
                if self.is_closed:
                    raise TurnFailed("the turn was cancelled")

        async def go():
            run = a_run(services, pause=0.001)
            run.stream = Cancelled(PLAIN)
            await run.begin()
            seen = []
            async for event in run.events():
                seen.append(event)
                run.cancel()
            return run, seen

        run, events = asyncio.run(go())
        check(events)
        assert events[-1]["response"]["status"] == "cancelled"
        assert run.fault is None
        assert caplog.records == []

    def test_hides_what_the_model_thinks_from_callers_who_may_not_see_it(self):
        with services_with(ScriptedEngine(), raw_reasoning=False) as services:
            run = a_run(services)
            events = asyncio.run(written(run))
            check(events)
            assert "hm" not in json.dumps(events)
            turn = StoredTurn.from_json(row_of(services, run).turn)
            assert turn.output_messages[0].content == "hm"

    def test_that_the_engine_ends_as_cancelled_keeps_its_count(self, services):
        async def go():
            run = a_run(services, [*thought("hm"), *finished("cancelled")])
            run._is_cancelled = True  # the engine had finished before it heard of it
            return await written(run)

        *_, last = asyncio.run(go())
        assert last["response"]["status"] == "cancelled"
        assert last["response"]["usage"]["output_tokens"] == 7


class Failing:
    """A store that fails at one of its acts, from one call of it on."""

    def __init__(self, store, act, after=0):
        self._store = store
        self._act = act
        self._left = after

    def __getattr__(self, name):
        if name == self._act:
            self._left -= 1
            if self._left < 0:
                return lambda *args, **named: failed_future()
        return getattr(self._store, name)


def failed_future():
    future = Future()
    future.set_exception(StoreError("the disk is full"))
    return future


def with_failing(services, act, after=0):
    return replace(services, responses=Failing(services.responses, act, after))


def test_what_could_not_be_stored_has_failed(services):
    events = asyncio.run(written(a_run(with_failing(services, "finish"))))
    check(events)
    last = events[-1]
    assert last["type"] == "response.failed"
    assert last["response"]["error"]["code"] == "server_error"
    assert "disk" not in json.dumps(last)


def test_what_cannot_be_kept_does_not_begin(services):
    run = a_run(with_failing(services, "begin"))
    with pytest.raises(StoreError):
        asyncio.run(run.begin())


PARTS = st.lists(
    st.one_of(
        st.just(thought("hm")),
        st.just(preamble("well")),
        st.just(answer("He", "llo")),
        st.just(call("f", "{", "}")),
        st.just(answer("Hel", is_whole=False)),
        st.just(call("f", "{", is_whole=False)),
        st.sampled_from([finished(), finished("length"), finished("cancelled")]),
        st.just([ProviderUnavailable("died")]),
        st.just([ZeroDivisionError("x")]),
    ),
    max_size=6,
)


@given(parts=PARTS, cut=st.integers(0, 30), stores=st.booleans(), background=st.booleans())
def test_every_script_ends_in_one_terminal_event_and_one_finished_row(
    shared, parts, cut, stores, background
):
    script = [event for part in parts for event in part]
    script = script[: max(0, len(script) - cut % 4)]
    run = a_run(shared, script, stores=stores, background=background and stores)
    events = asyncio.run(written(run))
    check(events)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert sum(event["type"] in TERMINAL for event in events) == 1
    row = row_of(shared, run)
    assert (row is not None) == stores
    if row is not None:
        assert json.loads(row.body) == events[-1]["response"]


@pytest.fixture(scope="module")
def shared():
    with services_with(ScriptedEngine()) as made:
        yield made


class TestBackground:
    def in_background(self, services, script=PLAIN, *, pause=0.0, stop=None, watched=True):
        async def go():
            running = RunningResponses(services)
            run = a_run(services, script, background=True, pause=pause)
            await run.begin()
            running.add(run)
            row = await asyncio.wrap_future(services.responses.get(run.writer.id, "anna"))
            running.start(run)
            if stop is not None:
                await stop(running, run)
            events = [event async for event in running.followed(row, -1)] if watched else []
            await running.ended(run.writer.id)
            await running.ended("resp_nobody")
            assert running.find(run.writer.id, "anna") is None
            return run, events

        return asyncio.run(go())

    def test_the_server_waits_for_it_when_it_ends(self, services):
        async def stop(running, run):
            await asyncio.sleep(0)
            assert services.drain.running == 1

        self.in_background(services, pause=0.005, stop=stop)
        assert services.drain.running == 0

    def test_events_are_stored_as_they_are_told(self, services):
        run, events = self.in_background(services, pause=0.005)
        check(events)
        stored = services.responses.events(run.writer.id, "anna", -1).result(5)
        assert [json.loads(text) for _, text in stored] == events

    def test_runs_end_as_failed_when_the_server_stops(self, services):
        async def stop(running, run):
            await asyncio.sleep(0.02)
            await running.close()

        run, events = self.in_background(services, pause=0.01, stop=stop)
        assert events[-1]["type"] == "response.failed"
        assert row_of(services, run).status == "failed"

    def test_events_that_cannot_be_stored_still_lead_to_an_end(self, services):
        broken = with_failing(services, "append_events", after=1)
        run, events = self.in_background(broken, pause=0.02)
        assert events[-1]["type"] == "response.completed"
        assert row_of(services, run).status == "completed"

    def test_events_that_cannot_be_read_end_at_once(self, services):
        broken = with_failing(services, "events")
        _, events = self.in_background(broken)
        (last,) = events
        assert last["type"] == "response.failed"
        assert last["sequence_number"] == 0

    def test_an_end_that_could_not_be_stored_is_a_failure(self, services):
        broken = with_failing(services, "finish")
        _, events = self.in_background(broken)
        assert events[-1]["type"] == "response.failed"

    def test_a_row_that_never_ended_is_told_as_failed(self, services):
        async def go():
            run = a_run(services, background=True)
            await run.begin()
            row = await asyncio.wrap_future(services.responses.get(run.writer.id, "anna"))
            return [event async for event in RunningResponses(services).followed(row, 3)]

        (last,) = asyncio.run(go())
        assert (last["type"], last["sequence_number"]) == ("response.failed", 4)


def test_the_routes_end_what_runs_before_the_store_is_closed(services):
    router = routes(services)

    async def go():
        async with router.lifespan_context(None):
            pass

    asyncio.run(go())


def test_a_row_that_cannot_be_begun_closes_its_turn(services):
    services.provider.play([PLAIN])
    broken = with_failing(services, "begin")
    transport = httpx2.ASGITransport(app_of(broken, routes))

    async def go():
        async with httpx2.AsyncClient(transport=transport, base_url="http://x") as client:
            return await client.post("/v1/responses", json={"input": "hi"})

    assert asyncio.run(go()).status_code == 500
    (stream,) = services.provider.streams
    assert stream.is_closed


def test_nothing_is_thrown_into_frames(services):
    frames = _Frames(a_run(services))
    with pytest.raises(NotImplementedError):
        asyncio.run(frames.athrow(ValueError()))


def test_what_an_earlier_server_left_is_settled_at_the_start(tmp_path):
    async def leave(services):
        running, done = a_run(services), a_run(services)
        await running.begin()
        await written(done)
        return running, done

    path = tmp_path / "store.db"
    with services_on(path) as services:
        running, done = asyncio.run(leave(services))
    with services_on(path) as services:
        asyncio.run(settle_unfinished(services))
        row = row_of(services, running)
        body = json.loads(row.body)
        assert (row.status, body["status"], body["error"]["code"]) == (
            "failed", "failed", "server_error",
        )  # fmt: skip
        assert row.turn == TURN.to_json()
        assert row_of(services, done).status == "completed"
        running.stream.close()


@contextmanager
def services_on(path):
    database = Database(path)
    with services_with(ScriptedEngine()) as services:
        try:
            yield replace(services, responses=Responses(database))
        finally:
            database.close()
