from hypothesis import given
from hypothesis import strategies as st

from ossia.engine.pages import PageOwner
from ossia.engine.scheduler import Scheduler

PAGE = 4


def scheduler(num_pages=8, max_running=3, step_tokens=16):
    owner = PageOwner(num_pages=num_pages, num_rings=max_running, page_tokens=PAGE)
    return Scheduler(owner, max_running=max_running, step_tokens=step_tokens), owner


def run(turns):
    return [(turn.request_id, turn.past, turn.count, turn.samples) for turn in turns]


def test_is_idle_without_requests():
    policy, _ = scheduler()
    assert policy.idle
    assert policy.next_step() == []


def test_a_short_prompt_is_read_whole_and_samples():
    policy, _ = scheduler()
    policy.add(7, 5)
    assert run(policy.next_step()) == [(7, 0, 5, True)]


def test_a_long_prompt_is_read_in_chunks_and_samples_at_its_end():
    policy, _ = scheduler()
    policy.add(7, 20)
    first = policy.next_step()
    policy.settle(first)
    assert run(first) == [(7, 0, 16, False)]
    assert run(policy.next_step()) == [(7, 16, 4, True)]


def test_who_writes_goes_before_who_reads():
    policy, _ = scheduler()
    policy.add(1, 12)
    policy.settle(policy.next_step())
    policy.extend(1, 1)
    policy.add(2, 20)
    turns = policy.next_step()
    assert run(turns) == [(1, 12, 1, True), (2, 0, 15, False)]


def test_the_next_waits_until_there_is_a_place():
    policy, _ = scheduler(max_running=1)
    policy.add(1, 3)
    policy.add(2, 3)
    assert [turn.request_id for turn in policy.next_step()] == [1]
    policy.remove(1)
    assert [turn.request_id for turn in policy.next_step()] == [2]


def test_the_youngest_makes_way_when_pages_run_out_and_starts_over():
    policy, owner = scheduler(num_pages=4)
    policy.add(1, 8)
    policy.add(2, 8)
    policy.settle(policy.next_step())
    assert owner.free_pages == 0
    policy.extend(1, 1)
    policy.extend(2, 1)
    assert run(policy.next_step()) == [(1, 8, 1, True)]
    policy.remove(1)
    assert run(policy.next_step()) == [(2, 0, 9, True)]


def test_a_waiting_request_can_be_removed():
    policy, _ = scheduler(max_running=1)
    policy.add(1, 3)
    policy.add(2, 3)
    policy.next_step()
    policy.remove(2)
    policy.remove(1)
    assert policy.idle


@given(st.data())
def test_every_request_is_served_and_no_page_is_lost(data):
    policy, owner = scheduler(num_pages=6)
    total = owner.free_pages, owner.free_rings
    wanted = {
        request: (data.draw(st.integers(1, 15)), data.draw(st.integers(1, 8)))
        for request in range(data.draw(st.integers(1, 6)))
    }
    for request, (prompt, _) in wanted.items():
        policy.add(request, prompt)
    known = {request: prompt for request, (prompt, _) in wanted.items()}
    done = dict.fromkeys(wanted, 0)
    for _ in range(2000):
        if policy.idle:
            break
        turns = policy.next_step()
        assert turns, "not idle, but nothing runs"
        assert sum(turn.count for turn in turns) <= 16
        owned = [page for turn in turns for page in turn.pages]
        assert len(owned) == len(set(owned))
        for turn in turns:
            assert len(turn.pages) * PAGE >= turn.past + turn.count
            assert turn.samples == (turn.past + turn.count == known[turn.request_id])
        policy.settle(turns)
        for turn in turns:
            if turn.samples:
                done[turn.request_id] += 1
                if done[turn.request_id] == wanted[turn.request_id][1]:
                    policy.remove(turn.request_id)
                else:
                    known[turn.request_id] += 1
                    policy.extend(turn.request_id, 1)
    assert policy.idle
    assert (owner.free_pages, owner.free_rings) == total
    assert all(done[request] == count for request, (_, count) in wanted.items())
