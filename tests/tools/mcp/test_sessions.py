"""Sessions of one client: its own, others by handle, none for ever."""

import asyncio

from ossia.tools.mcp.sessions import IDLE_SECONDS, MAX_SESSIONS, NEW, Handles
from tests.tools.mcp.counting import CountingKit


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def run(work):
    """Run work on handles of a kit, with a clock that is set by hand."""
    kit, clock = CountingKit(), Clock()

    async def all_of_it():
        handles = Handles((kit,), clock=clock)
        found = await work(handles, kit, clock)
        await handles.close()
        assert kit.open_sessions == 0
        return found

    return asyncio.run(all_of_it())


def test_where_clients_share_a_name_each_call_without_a_handle_has_a_new_session():
    async def work():
        handles = Handles((CountingKit(),), has_own=False)
        first, other = await handles.get(), await handles.get()
        assert first is not other
        assert await handles.get(first.handle) is first
        await handles.close()

    asyncio.run(work())


def test_a_client_has_a_session_of_its_own_and_others_by_handle():
    async def work(handles, kit, clock):
        own, new, other = await handles.get(), await handles.get(NEW), await handles.get(NEW)
        assert await handles.get() is own
        assert await handles.get(new.handle) is new
        assert len({own.handle, new.handle, other.handle}) == 3
        assert len(bytes.fromhex(new.handle)) == 16
        assert await handles.get("f" * 32) is None
        assert kit.open_sessions == 3

    run(work)


def test_sessions_that_are_idle_go_the_clients_own_stays():
    async def work(handles, kit, clock):
        own, old = await handles.get(), await handles.get(NEW)
        clock.now += IDLE_SECONDS + 1
        assert await handles.get(old.handle) is None
        assert await handles.get() is own
        assert kit.open_sessions == 1

    run(work)


def test_the_least_lately_used_makes_room_unless_it_is_in_use():
    async def work(handles, kit, clock):
        made = []
        for _ in range(MAX_SESSIONS):
            clock.now += 1
            made.append(await handles.get(NEW))
        async with made[0].turn:
            await handles.get(NEW)
            assert await handles.get(made[0].handle) is made[0]
        assert await handles.get(made[1].handle) is None
        assert kit.open_sessions == MAX_SESSIONS

    run(work)
