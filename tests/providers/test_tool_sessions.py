import asyncio

import pytest

from ossia.errors import RequestError
from ossia.providers.tool_sessions import ToolSessions
from ossia.tools.sessions import LazyToolkit
from tests.tools.test_sessions import FakeToolkit


def lazy(toolkit):
    async def start():
        return toolkit

    return LazyToolkit(start)


async def refused():
    raise RequestError("no sandbox here")


def run(test, *toolkits, **options):
    now = [0.0]
    named = {f"toolkit{at}": lazy(toolkit) for at, toolkit in enumerate(toolkits)}
    box = ToolSessions({**named, "broken": LazyToolkit(refused)}, clock=lambda: now[0], **options)

    async def whole():
        await box.open()
        try:
            return await test(box, now)
        finally:
            await box.close()

    return asyncio.run(whole()), box


def test_what_can_be_offered_is_and_the_rest_says_why():
    async def test(box, now):
        return [spec.name for spec in box.specs]

    names, box = run(test, FakeToolkit("a.x"), FakeToolkit("b.y"))
    assert names == ["a.x", "b.y"]
    assert box.refusals == {"broken": "no sandbox here"}


def test_what_is_demanded_cannot_be_left_out():
    toolkit = FakeToolkit("a.x")
    box = ToolSessions(
        {"toolkit": lazy(toolkit), "broken": LazyToolkit(refused)}, required={"broken"}
    )

    async def whole():
        try:
            await box.open()
        finally:
            await box.close()

    with pytest.raises(RequestError, match="no sandbox here"):
        asyncio.run(whole())
    assert toolkit.log == ["toolkit closed"]


def test_a_conversation_finds_its_tools_again():
    toolkit = FakeToolkit("a.x")

    async def test(box, now):
        async with box.lease("one") as lease:
            lease.labels.add("reads_private")
            first = lease.session
        async with box.lease("one") as lease:
            assert lease.session is first
            assert lease.labels == {"reads_private"}
        async with box.lease("other") as lease:
            assert lease.session is not first

    run(test, toolkit)
    assert toolkit.log == ["opened", "opened", "closed", "closed", "toolkit closed"]


def test_without_a_key_the_tools_go_with_the_turn():
    toolkit = FakeToolkit("a.x")

    async def test(box, now):
        async with box.lease(None):
            pass
        return list(toolkit.log)

    assert run(test, toolkit)[0] == ["opened", "closed"]


def test_what_a_conversation_cites_is_found():
    async def test(box, now):
        async with box.lease("one"):
            pass
        return box.resolve("one", 1), box.resolve("one", 2), box.resolve("other", 1)

    assert run(test, FakeToolkit("a.x"))[0] == (("corpus://a", "A"), None, None)


def test_what_is_unused_for_long_goes():
    toolkit = FakeToolkit("a.x")

    async def test(box, now):
        async with box.lease("one"):
            pass
        now[0] = 11.0
        async with box.lease("two"):
            pass
        return list(toolkit.log)

    assert run(test, toolkit, idle_seconds=10)[0] == ["opened", "closed", "opened"]


def test_the_oldest_of_too_many_goes_but_never_one_in_use():
    async def test(box, now):
        async with box.lease("one") as one:
            async with box.lease("two"):
                pass
            async with box.lease("three"):
                pass
        async with box.lease("one") as again:
            return again.session is one.session

    assert run(test, FakeToolkit("a.x"), max_sessions=2)[0]


def test_two_branches_of_a_conversation_take_turns():
    order = []

    async def test(box, now):
        async def use(name):
            async with box.lease("one"):
                order.append(f"{name} in")
                await asyncio.sleep(0.01)
                order.append(f"{name} out")

        await asyncio.gather(use("a"), use("b"))

    run(test, FakeToolkit("a.x"))
    assert order == ["a in", "a out", "b in", "b out"]


def test_a_kit_that_fails_to_open_fails_its_turn_only():
    class Failing(FakeToolkit):
        async def open(self):
            raise RequestError("all interpreters are busy")

    async def test(box, now):
        with pytest.raises(RequestError, match="busy"):
            async with box.lease("one"):
                pass

    run(test, Failing("a.x"))
