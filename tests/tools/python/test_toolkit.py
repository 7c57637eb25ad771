"""One interpreter a conversation: few at a time, none shared, each with an end."""

import asyncio
import os
import signal
import time

import pytest

from ossia.errors import RequestError
from ossia.harmony.prompt_text import PYTHON
from ossia.tools.python.toolkit import PythonOptions, PythonToolkit
from tests.tools.python.conftest import SMALL


@pytest.fixture
def kit_of(runner, best_sandbox):
    """Start a toolkit with options of the test's own."""
    started = []

    def start(**options):
        wanted = PythonOptions(sandbox=best_sandbox, **({"limits": SMALL} | options))
        started.append(runner.run(PythonToolkit.start(wanted)))
        return started[-1]

    yield start
    for toolkit in started:
        runner.run(toolkit.close())


def test_the_tool_is_the_one_the_models_were_trained_with(kit_of):
    (spec,) = kit_of().specs
    assert (spec.name, spec.input_format, spec.channel) == ("python", "text", "analysis")
    assert spec.description == PYTHON.description
    assert spec.labels == frozenset()
    assert PythonOptions().limits.wall_seconds == 120.0


def test_the_wire_learns_container_and_outputs(kit_of, runner):
    async def talk():
        session = await kit_of_kit.open()
        (tool,) = session.tools
        assert not session.needs_approval("python", "1")
        return session.id, await tool.call("print('x')")

    kit_of_kit = kit_of()
    name, results = runner.run(talk())
    assert name.startswith("cntr_")
    assert len(name) == 5 + 32
    assert results.details == {
        "container_id": name, "outputs": [{"type": "logs", "logs": "x"}], "code": "finished",
    }  # fmt: skip


def test_code_that_is_too_long_is_refused(kit_of, runner):
    toolkit = kit_of()
    session = runner.run(toolkit.open())
    refused = runner.run(session.call("#" * (SMALL.code_bytes + 1)))
    assert refused.is_error
    assert f"at most {SMALL.code_bytes}" in refused.text
    assert runner.run(session.call("#" * SMALL.code_bytes)).text == "(nothing was printed)"


def test_many_conversations_at_once_find_room_or_are_told(kit_of, runner):
    toolkit = kit_of(max_interpreters=4)

    async def crowd():
        sessions = [await toolkit.open() for _ in range(100)]
        results = await asyncio.gather(*(session.call("1 + 1") for session in sessions))
        assert not toolkit.has_room
        return results

    results = runner.run(crowd())
    assert [each.text for each in results if not each.is_error] == ["2"] * 4
    refused = [each for each in results if each.is_error]
    assert len(refused) == 96
    assert {(each.text, each.details["code"]) for each in refused} == {
        ("All 4 interpreters are in use.", "busy")
    }


def test_the_one_used_longest_ago_makes_room(kit_of, runner):
    toolkit = kit_of(max_interpreters=2, secure_seconds=0)

    async def talk():
        first, second, third = [await toolkit.open() for _ in range(3)]
        await first.call("x = 1")
        await second.call("x = 2")
        await first.call("x")
        assert (await third.call("3")).text == "3"  # the second goes
        remembered, lost = await first.call("x"), await second.call("x")
        return remembered.text, lost.text

    remembered, lost = runner.run(talk())
    assert remembered == "1"
    assert lost.startswith("The interpreter was restarted; variables are lost.")


def test_an_interpreter_that_runs_makes_no_room(kit_of, runner):
    toolkit = kit_of(max_interpreters=1, secure_seconds=0)

    async def talk():
        first, second = await toolkit.open(), await toolkit.open()
        running = asyncio.create_task(first.call("import time; time.sleep(0.5); 'done'"))
        while toolkit.has_room:
            await asyncio.sleep(0.01)
        refused = await second.call("1")
        return refused.details["code"], (await running).text

    assert runner.run(talk()) == ("busy", "'done'")


def test_idle_interpreters_end(kit_of, runner):
    toolkit = kit_of(idle_seconds=0.1)

    async def talk():
        session = await toolkit.open()
        await session.call("x = 1")
        await asyncio.sleep(0.5)
        assert toolkit.has_room
        return (await session.call("x")).text

    assert "variables are lost" in runner.run(talk())


def test_old_interpreters_end(kit_of, runner):
    toolkit = kit_of(life_seconds=0.2)

    async def talk():
        session, results = await toolkit.open(), []
        until = time.monotonic() + 10
        while (
            not any("variables are lost" in each for each in results) and time.monotonic() < until
        ):
            results.append((await session.call("1")).text)
            await asyncio.sleep(0.02)
        return results

    assert "variables are lost" in runner.run(talk())[-1]


def test_time_is_up_for_a_cell(kit_of, runner):
    from dataclasses import replace

    toolkit = kit_of(limits=replace(SMALL, wall_seconds=0.3))
    session = runner.run(toolkit.open())
    stopped = runner.run(session.call("import time\ny = 1\ntime.sleep(60)"))
    assert stopped.text.splitlines()[-1] == (
        "[The cell was stopped after 0.3 seconds. Variables are kept.]"
    )
    assert stopped.details["code"] == "time"
    assert runner.run(session.call("y")).text == "1"


def test_a_call_that_is_given_up_stops_its_cell(kit_of, runner):
    toolkit = kit_of()

    async def talk():
        session = await toolkit.open()
        await session.call("x = 7")
        waiting = asyncio.create_task(session.call("import time; time.sleep(60)"))
        await asyncio.sleep(0.2)
        began = time.monotonic()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert waiting.cancelled()
        assert time.monotonic() - began < 5
        return (await session.call("x")).text

    assert runner.run(talk()) == "7"


def test_calls_of_one_conversation_wait_for_each_other(kit_of, runner):
    toolkit = kit_of()

    async def talk():
        session = await toolkit.open()
        await session.call("x = []")
        calls = [session.call(f"x.append({number}); len(x)") for number in range(5)]
        return sorted([(await call).text for call in calls])

    assert runner.run(talk()) == ["1", "2", "3", "4", "5"]


def test_a_launcher_that_dies_is_replaced_and_the_loss_told(kit_of, runner):
    toolkit = kit_of()

    async def talk():
        session, fresh = await toolkit.open(), await toolkit.open()
        await session.call("x = 1")
        before = toolkit.launcher.pid
        os.kill(before, signal.SIGKILL)
        while toolkit.launcher.is_alive:
            await asyncio.sleep(0.01)
        new = (await fresh.call("2")).text
        old = (await session.call("x")).text
        return before != toolkit.launcher.pid, new, old

    is_other, new, old = runner.run(talk())
    assert is_other
    assert new == "2"
    assert old.startswith("The interpreter was restarted; variables are lost.")


def test_a_launcher_that_dies_in_a_cell_is_told(kit_of, runner):
    toolkit = kit_of()

    async def talk():
        session = await toolkit.open()
        running = asyncio.create_task(session.call("import time; time.sleep(30)"))
        await asyncio.sleep(0.5)
        os.kill(toolkit.launcher.pid, signal.SIGKILL)
        return await running

    ended = runner.run(talk())
    assert ended.is_error
    assert ended.text == "The interpreter is gone; variables are lost."


def test_a_conversation_that_is_over_runs_nothing(kit_of, runner):
    toolkit = kit_of()
    session = runner.run(toolkit.open())
    runner.run(session.call("1"))
    runner.run(session.close())
    runner.run(session.close())
    assert runner.run(session.call("1")).text == "The conversation is over."
    assert toolkit.has_room


def test_a_closed_toolkit_opens_nothing(kit_of, runner):
    toolkit = kit_of()
    session = runner.run(toolkit.open())
    runner.run(session.call("1"))
    runner.run(toolkit.close())
    with pytest.raises(RequestError, match="closed") as caught:
        runner.run(toolkit.open())
    assert caught.value.code == "tool_unavailable"
    assert runner.run(session.call("1")).is_error
