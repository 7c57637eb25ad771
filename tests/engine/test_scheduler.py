import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ossia.engine.block_manager import PageOwner
from ossia.engine.scheduler import SHARED, Copy, Scheduler

PAGE = 4


def scheduler(num_pages=8, max_running=3, max_batch_tokens=16, max_kept=0):
    owner = PageOwner(num_pages=num_pages, num_windows=max_running + max_kept, page_tokens=PAGE)
    return Scheduler(
        owner, max_running=max_running, max_batch_tokens=max_batch_tokens, max_kept=max_kept
    ), owner


def text(length, first=0):
    return list(range(first, first + length))


def run(work):
    return [(turn.request_id, turn.past, turn.count, turn.samples) for turn in work.turns]


def stepped(policy, guesses=None):
    """One step, settled: what was run, and what is copied after it."""
    work = policy.next_step(guesses or {})
    return run(work), policy.settle(work.turns)


def test_is_idle_without_requests():
    policy, _ = scheduler()
    assert policy.idle
    assert policy.next_step().turns == []


def test_a_short_prompt_is_read_whole_and_samples():
    policy, _ = scheduler()
    policy.add(7, text(5))
    assert run(policy.next_step()) == [(7, 0, 5, True)]


def test_a_long_prompt_is_read_in_chunks_and_samples_at_its_end():
    policy, _ = scheduler()
    policy.add(7, text(20))
    assert stepped(policy)[0] == [(7, 0, 16, False)]
    assert stepped(policy)[0] == [(7, 16, 4, True)]


def test_who_writes_goes_first_and_waits_for_a_short_chunk_only():
    policy, _ = scheduler()
    written = text(12)
    policy.add(1, written)
    stepped(policy)
    written.append(0)
    policy.add(2, text(20))
    assert run(policy.next_step()) == [(1, 12, 1, True), (2, 0, 16 // SHARED, False)]


def test_several_prompts_share_one_short_chunk_beside_who_writes():
    policy, _ = scheduler(num_pages=20, max_running=4)
    written = text(2)
    policy.add(1, written)
    stepped(policy)
    written.append(0)
    policy.add(2, text(20, 100), cache_points=[1])
    policy.add(3, text(20, 200))
    assert run(policy.next_step()) == [(1, 2, 1, True), (2, 0, 1, False), (3, 0, 1, False)]


@given(st.data())
def test_who_writes_is_in_every_step_and_no_step_reads_more_than_a_short_chunk(data):
    policy, owner = scheduler(num_pages=64, max_running=4, max_batch_tokens=32)
    written = text(3)
    policy.add(0, written)
    stepped(policy)
    for request in range(1, 4):
        policy.add(request, text(data.draw(st.integers(1, 60)), 100 * request))
    for _ in range(20):
        written.append(0)
        work = policy.next_step()
        assert work.turns[0].request_id == 0
        reading = [
            turn.count for turn in work.turns if turn.count > owner.page_tokens or not turn.samples
        ]
        assert sum(reading) <= 32 // SHARED
        policy.settle(work.turns)


def test_the_next_waits_until_there_is_a_place():
    policy, _ = scheduler(max_running=1)
    policy.add(1, text(3))
    policy.add(2, text(3))
    assert [turn.request_id for turn in policy.next_step().turns] == [1]
    policy.remove(1)
    assert [turn.request_id for turn in policy.next_step().turns] == [2]


def test_the_youngest_makes_way_when_pages_run_out_and_starts_over():
    policy, owner = scheduler(num_pages=4)
    first, second = text(8), text(8, 50)
    policy.add(1, first)
    policy.add(2, second)
    stepped(policy)
    assert owner.free_pages == 0
    first.append(0)
    second.append(0)
    assert run(policy.next_step()) == [(1, 8, 1, True)]
    policy.remove(1)
    assert run(policy.next_step()) == [(2, 0, 9, True)]


def test_a_waiting_request_can_be_removed():
    policy, _ = scheduler(max_running=1)
    policy.add(1, text(3))
    policy.add(2, text(3))
    policy.next_step()
    policy.remove(2)
    policy.remove(1)
    assert policy.idle


def test_guesses_run_behind_the_last_token_and_count_when_they_come_true():
    policy, _ = scheduler()
    written = text(6)
    policy.add(1, written)
    stepped(policy)
    written.append(6)
    work = policy.next_step({1: 3})
    assert [(turn.past, turn.count, turn.guesses) for turn in work.turns] == [(6, 4, 3)]
    policy.settle(work.turns)
    written += [7, 8]
    policy.confirm(1, 1)
    assert run(policy.next_step()) == [(1, 8, 1, True)]


def test_nobody_makes_way_for_guesses():
    policy, owner = scheduler(num_pages=3)
    first, second = text(4), text(3, 50)
    policy.add(1, first)
    policy.add(2, second)
    stepped(policy)
    first.append(0)
    second.append(0)
    work = policy.next_step({1: 8, 2: 8})
    assert [(turn.request_id, turn.count, turn.guesses) for turn in work.turns] == [
        (1, 1, 0),
        (2, 1, 0),
    ]
    assert owner.free_pages == 0


def test_guesses_leave_every_other_request_its_token():
    policy, _ = scheduler(num_pages=20, max_batch_tokens=6)
    texts = [text(2), text(2, 50), text(2, 90)]
    for request, each in enumerate(texts):
        policy.add(request, each)
    stepped(policy)
    for each in texts:
        each.append(0)
    turns = policy.next_step(dict.fromkeys(range(3), 8)).turns
    assert [turn.count - turn.guesses for turn in turns] == [1, 1, 1]
    assert sum(turn.count for turn in turns) <= 6


@pytest.mark.parametrize("length", [2, 20])
def test_guesses_stand_behind_a_single_token_only(length):
    policy, _ = scheduler()
    policy.add(1, text(length))
    assert policy.next_step({1: 4}).turns[0].guesses == 0


def test_a_text_that_begins_as_another_goes_on_there():
    policy, _ = scheduler(num_pages=16, max_kept=2)
    policy.add(1, text(10))
    done, copies = stepped(policy)
    assert done == [(1, 0, 10, True)]
    ((ring, kept_ring),) = (copy.ring for copy in copies)
    first = policy.next_step().turns
    assert first == []
    policy.remove(1)
    policy.add(2, [*text(10), 70, 71])
    work = policy.next_step()
    assert run(work) == [(2, 10, 2, True)]
    turn = work.turns[0]
    # two pages are shared, the third was not full
    assert work.copies == [Copy((kept_ring, turn.ring), (2, turn.pages[2]))]
    assert turn.pages[:2] == (0, 1)
    assert turn.pages[2] != 2


def test_the_same_text_again_reads_its_last_token_only():
    policy, _ = scheduler(num_pages=16, max_kept=2)
    for request in (1, 2):
        policy.add(request, text(9))
        done, _ = stepped(policy)
        policy.remove(request)
    assert done == [(2, 8, 1, True)]


def test_a_text_goes_on_from_an_answer_that_has_ended():
    policy, _ = scheduler(num_pages=16, max_kept=2)
    written = text(6)
    policy.add(1, written)
    stepped(policy)
    for token_id in (6, 7):
        written.append(token_id)
        stepped(policy)
    written.append(8)
    assert len(policy.finish(1)) == 1
    assert policy.idle
    policy.add(2, [*written, 9])
    assert stepped(policy)[0] == [(2, 8, 2, True)]


def test_chunks_end_at_boundaries_so_that_others_may_part_there():
    policy, _ = scheduler(num_pages=32, max_kept=4)
    policy.add(1, text(12), cache_points=[0, 7, 12, 99])
    assert stepped(policy)[0] == [(1, 0, 7, False)]
    assert stepped(policy)[0] == [(1, 7, 5, True)]
    policy.add(2, [*text(7), 60, 61])
    policy.remove(1)
    assert stepped(policy)[0] == [(2, 7, 2, True)]


def test_the_second_text_that_parts_from_another_keeps_that_place_for_the_third():
    policy, _ = scheduler(num_pages=32, max_kept=4)
    seen = []
    for request, end in enumerate((60, 70, 80)):
        policy.add(request, [*text(9), *text(5, end)])
        while policy._running or policy._waiting:
            done, _ = stepped(policy)
            seen += done
            if done[0][3]:
                policy.remove(request)
    assert seen == [(0, 0, 14, True), (1, 0, 9, False), (1, 9, 5, True), (2, 9, 5, True)]


def test_one_that_begins_as_an_older_one_waits_until_it_can_go_on_from_there():
    policy, _ = scheduler(num_pages=32, max_batch_tokens=64, max_kept=4)
    policy.add(1, [*text(30), 60])
    stepped(policy)
    policy.remove(1)
    # both part from the first after 10 tokens, and from each other after 20
    policy.add(2, [*text(10), *text(10, 70), 80])
    policy.add(3, [*text(10), *text(10, 70), 90])
    assert stepped(policy)[0] == [(2, 0, 10, False)]
    assert stepped(policy)[0] == [(2, 10, 10, False)]
    assert stepped(policy)[0] == [(2, 20, 1, True), (3, 20, 1, True)]


def test_what_is_kept_makes_way_before_who_runs():
    policy, owner = scheduler(num_pages=4, max_kept=2)
    policy.add(1, text(8))
    stepped(policy)
    policy.remove(1)
    assert (owner.free_pages, owner.available) == (2, 4)
    policy.add(2, text(16, 50))
    assert stepped(policy)[0] == [(2, 0, 16, True)]


def test_a_request_that_made_way_goes_on_from_its_own_prompt():
    policy, _ = scheduler(num_pages=5, max_kept=2)
    first, second = text(8), text(8, 50)
    policy.add(1, first)
    policy.add(2, second)
    stepped(policy)
    first += [0] * 4
    second.append(0)
    assert stepped(policy)[0] == [(1, 8, 4, True)]
    policy.remove(1)
    assert stepped(policy)[0] == [(2, 8, 1, True)]


@settings(max_examples=60)
@given(st.data())
def test_every_request_is_served_and_no_page_is_lost(data):
    """Texts of two letters begin alike often; what a place holds is checked token by token."""
    policy, owner = scheduler(
        num_pages=7,
        max_kept=data.draw(st.integers(0, 3)),
        max_batch_tokens=data.draw(st.integers(3, 20)),
    )
    world = World(policy)
    for request in range(data.draw(st.integers(1, 6))):
        prompt = data.draw(st.lists(st.integers(0, 1), min_size=1, max_size=15))
        world.wanted[request] = data.draw(st.integers(1, 12))
        world.texts[request] = prompt
        policy.add(request, prompt, data.draw(st.lists(st.integers(0, 15), max_size=2)))
    guesses = data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=9))
    for at in range(2000):
        if policy.idle:
            break
        most = guesses[at % len(guesses)]
        world.step({each: min(most, n - 1) for each, n in world.wanted.items()}, at % 3)
    assert policy.idle
    assert owner.available == 7
    assert not world.wanted


class World:
    """What a model does to pages and rings: it stores which token stands where."""

    WINDOW, RING = 4, 8

    def __init__(self, policy):
        self.policy = policy
        self.texts, self.wanted = {}, {}
        self.pages = {page: [None] * PAGE for page in range(7)}
        self.rings = {ring: [None] * self.RING for ring in range(6)}

    def copy(self, copies):
        for copy in copies:
            source, target = copy.ring
            self.rings[target] = list(self.rings[source])
            if copy.page is not None:
                source, target = copy.page
                self.pages[target] = list(self.pages[source])

    def step(self, guesses, num_true):
        work = self.policy.next_step(guesses)
        assert work.turns, "not idle, but nothing runs"
        self.copy(work.copies)
        for turn in work.turns:
            known = self.texts[turn.request_id]
            assert turn.samples == (turn.past + turn.count - turn.guesses == len(known))
            assert turn.samples or not turn.guesses
            self.look_back(turn, known)
            end = turn.past + turn.count
            for at in range(turn.past, end):
                token = known[at] if at < len(known) else "guess"
                self.pages[turn.pages[at // PAGE]][at % PAGE] = token
                if at >= end - self.WINDOW:
                    self.rings[turn.ring][at % self.RING] = (at, token)
        self.copy(self.policy.settle(work.turns))
        for turn in work.turns:
            if turn.samples:
                self.write(turn, min(num_true, turn.guesses))

    def look_back(self, turn, known):
        assert len(turn.pages) * PAGE >= turn.past + turn.count
        for at in range(turn.past):
            assert self.pages[turn.pages[at // PAGE]][at % PAGE] == known[at]
        for at in range(max(0, turn.past - self.WINDOW + 1), turn.past):
            assert self.rings[turn.ring][at % self.RING] == (at, known[at])

    def write(self, turn, num_true):
        """Some guesses come true, then one more token is sampled."""
        known = self.texts[turn.request_id]
        for _ in range(num_true):
            at, token = len(known), len(known) % 2
            self.pages[turn.pages[at // PAGE]][at % PAGE] = token
            self.rings[turn.ring][at % self.RING] = (at, token)
            known.append(token)
            self.policy.confirm(turn.request_id, 1)
        known.append(0)
        self.wanted[turn.request_id] -= num_true + 1
        if self.wanted[turn.request_id] == 0:
            self.copy(self.policy.finish(turn.request_id))
            del self.wanted[turn.request_id]
