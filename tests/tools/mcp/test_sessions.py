"""Sessions of one client: its own, others by handle, none for ever."""

import asyncio

from ossia.tools.mcp.sessions import IDLE_SECONDS, MAX_SESSIONS, NEW, SessionHandles
from tests.tools.mcp.counting import CountingToolkit


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


async def get(handles, handle=""):
    async with handles.lease(handle) as lease:
        return lease


def run(work):
    """Run work on handles of a toolkit, with a clock that is set by hand."""
    toolkit, clock = CountingToolkit(), Clock()

    async def all_of_it():
        handles = SessionHandles((toolkit,), clock=clock)
        found = await work(handles, toolkit, clock)
        await handles.close()
        assert toolkit.open_sessions == 0
        return found

    return asyncio.run(all_of_it())


def test_where_clients_share_a_name_each_call_without_a_handle_has_a_new_session():
    async def work():
        handles = SessionHandles((CountingToolkit(),), has_own=False)
        first, other = await get(handles), await get(handles)
        assert first is not other
        assert await get(handles, first.key) is first
        await handles.close()

    asyncio.run(work())


def test_a_client_has_a_session_of_its_own_and_others_by_handle():
    async def work(handles, toolkit, clock):
        own, new, other = await get(handles), await get(handles, NEW), await get(handles, NEW)
        assert await get(handles) is own
        assert await get(handles, new.key) is new
        assert len({own.key, new.key, other.key}) == 3
        assert len(bytes.fromhex(new.key)) == 16
        assert await get(handles, "f" * 32) is None
        assert toolkit.open_sessions == 3

    run(work)


def test_sessions_that_are_idle_go_the_clients_own_stays():
    async def work(handles, toolkit, clock):
        own, old = await get(handles), await get(handles, NEW)
        clock.now += IDLE_SECONDS + 1
        assert await get(handles, old.key) is None
        assert await get(handles) is own
        assert toolkit.open_sessions == 1

    run(work)


def test_the_least_lately_used_makes_room_unless_it_is_in_use():
    async def work(handles, toolkit, clock):
        made = []
        for _ in range(MAX_SESSIONS):
            clock.now += 1
            made.append(await get(handles, NEW))
        async with handles.lease(made[0].key):
            await get(handles, NEW)
        assert await get(handles, made[0].key) is made[0]
        assert await get(handles, made[1].key) is None
        assert toolkit.open_sessions == MAX_SESSIONS

    run(work)
