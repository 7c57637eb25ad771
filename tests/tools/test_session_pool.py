"""A conversation finds its session again; no two users have one at once, and none stays open."""

import asyncio

import pytest

from ossia.errors import RequestError
from ossia.tools.session_pool import SessionPool


class FakeSession:
    is_closed = False

    async def close(self):
        await asyncio.sleep(0)
        self.is_closed = True

    def resolve(self, cursor, line=None):
        return None


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def run(work, *, failures=0, **options):
    """Run work on a pool, with a clock that is set by hand and a list of what was opened."""
    opened, clock = [], Clock()

    async def open_session():
        nonlocal failures
        await asyncio.sleep(0.001)  # lets others in between
        failures -= 1
        if failures >= 0:
            raise RequestError("no room")
        opened.append(FakeSession())
        return opened[-1]

    async def whole():
        options.setdefault("max_sessions", 2)
        options.setdefault("idle_seconds", 10)
        pool = SessionPool(open_session, clock=clock, **options)
        await work(pool, opened, clock)
        await pool.close()
        assert all(each.is_closed for each in opened)

    asyncio.run(whole())


async def use(pool, key):
    async with pool.lease(key) as lease:
        await asyncio.sleep(0)
        return lease.session


def test_leases_that_begin_together_share_one_session_and_take_turns():
    async def work(pool, opened, clock):
        users = []

        async def use_alone():
            async with pool.lease("a"):
                users.append("in")
                await asyncio.sleep(0.001)
                users.append("out")

        await asyncio.gather(*(use_alone() for _ in range(3)))
        assert users == ["in", "out"] * 3
        assert len(opened) == 1

    run(work)


def test_new_conversations_that_begin_together_do_not_exceed_the_bound_afterwards():
    async def work(pool, opened, clock):
        await asyncio.gather(*(use(pool, str(each)) for each in range(5)))
        await use(pool, "another")
        assert sum(not each.is_closed for each in opened) == 2

    run(work)


def test_a_lease_that_waits_for_its_turn_is_not_evicted():
    async def work(pool, opened, clock):
        async with pool.lease("a") as lease:
            waiting = asyncio.create_task(use(pool, "a"))
            await asyncio.sleep(0)
        clock.now = 100
        assert not lease.session.is_closed
        await asyncio.gather(use(pool, "b"), use(pool, "c"), use(pool, "d"))
        assert await waiting is lease.session

    run(work)


def test_what_is_in_use_is_never_idle():
    async def work(pool, opened, clock):
        async with pool.lease("a") as lease:
            clock.now = 100
            await use(pool, "b")
            assert not lease.session.is_closed
        assert "a" in pool

    run(work)


def test_the_least_recently_used_makes_room():
    async def work(pool, opened, clock):
        for clock.now, key in enumerate("abac"):
            await use(pool, key)
        assert [key in pool for key in "abc"] == [True, False, True]

    run(work)


def test_what_is_expired_is_not_found_and_is_closed_by_the_next():
    async def work(pool, opened, clock):
        first = await use(pool, "a")
        assert "a" in pool
        clock.now = 11
        assert "a" not in pool
        assert await use(pool, "a") is not first
        assert first.is_closed

    run(work)


def test_a_pinned_session_stays():
    async def work(pool, opened, clock):
        first = await use(pool, "own")
        clock.now = 100
        for key in "abc":
            await use(pool, key)
        assert await use(pool, "own") is first

    run(work, pinned=["own"])


def test_a_session_that_cannot_be_opened_is_tried_anew_by_the_next():
    async def work(pool, opened, clock):
        with pytest.raises(RequestError, match="no room"):
            await use(pool, "a")
        assert "a" not in pool
        failed, found = await asyncio.gather(use(pool, "a"), use(pool, "a"), return_exceptions=True)
        assert isinstance(failed, RequestError)
        assert opened == [found]
        assert pool.find("a") is found

    run(work, failures=2)


def test_without_a_key_the_session_is_closed_after_the_block():
    async def work(pool, opened, clock):
        async with pool.lease(None) as lease:
            assert not lease.session.is_closed
        assert opened[0].is_closed
        assert pool.find("") is None

    run(work)


def test_what_is_in_use_while_the_pool_is_closed_is_closed_after_it():
    async def work(pool, opened, clock):
        late = asyncio.create_task(use(pool, "a"))
        await asyncio.sleep(0)
        await pool.close()
        assert not opened
        await late

    run(work)
