import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ossia.engine.block_manager import BlockManager
from ossia.engine.scheduler import PREFILL_SHARE, CacheCopy, Scheduler

BLOCK = 4


def scheduler(num_blocks=8, max_running=3, max_batch_tokens=16, max_cached_prefixes=0):
    blocks = BlockManager(
        num_blocks=num_blocks, num_windows=max_running + max_cached_prefixes, block_size=BLOCK
    )
    return Scheduler(
        blocks,
        max_running=max_running,
        max_batch_tokens=max_batch_tokens,
        max_cached_prefixes=max_cached_prefixes,
    ), blocks


def text(length, first=0):
    return list(range(first, first + length))


def run(output):
    return [
        (
            request.request_id,
            request.num_computed_tokens,
            request.num_scheduled_tokens,
            request.samples,
        )
        for request in output.requests
    ]


def stepped(policy, drafts=None):
    """One step, settled: what was run, and what is copied after it."""
    output = policy.schedule(drafts or {})
    return run(output), policy.update_after_step(output.requests)


def test_is_idle_without_requests():
    policy, _ = scheduler()
    assert policy.idle
    assert policy.schedule().requests == []


def test_a_short_prompt_is_read_whole_and_samples():
    policy, _ = scheduler()
    policy.add(7, text(5))
    assert run(policy.schedule()) == [(7, 0, 5, True)]


def test_a_long_prompt_is_read_in_chunks_and_samples_at_its_end():
    policy, _ = scheduler()
    policy.add(7, text(20))
    assert stepped(policy)[0] == [(7, 0, 16, False)]
    assert stepped(policy)[0] == [(7, 16, 4, True)]


def test_who_decodes_goes_first_and_waits_for_a_short_chunk_only():
    policy, _ = scheduler()
    written = text(12)
    policy.add(1, written)
    stepped(policy)
    written.append(0)
    policy.add(2, text(20))
    assert run(policy.schedule()) == [(1, 12, 1, True), (2, 0, 16 // PREFILL_SHARE, False)]


def test_several_prompts_share_one_short_chunk_beside_who_decodes():
    policy, _ = scheduler(num_blocks=20, max_running=4)
    written = text(2)
    policy.add(1, written)
    stepped(policy)
    written.append(0)
    policy.add(2, text(20, 100), cache_points=[1])
    policy.add(3, text(20, 200))
    assert run(policy.schedule()) == [(1, 2, 1, True), (2, 0, 1, False), (3, 0, 1, False)]


@given(st.data())
def test_who_decodes_is_in_every_step_and_no_step_reads_more_than_a_short_chunk(data):
    policy, blocks = scheduler(num_blocks=64, max_running=4, max_batch_tokens=32)
    written = text(3)
    policy.add(0, written)
    stepped(policy)
    for request in range(1, 4):
        policy.add(request, text(data.draw(st.integers(1, 60)), 100 * request))
    for _ in range(20):
        written.append(0)
        output = policy.schedule()
        assert output.requests[0].request_id == 0
        reading = [
            request.num_scheduled_tokens
            for request in output.requests
            if request.num_scheduled_tokens > blocks.block_size or not request.samples
        ]
        assert sum(reading) <= 32 // PREFILL_SHARE
        policy.update_after_step(output.requests)


def test_the_next_waits_until_there_is_a_place():
    policy, _ = scheduler(max_running=1)
    policy.add(1, text(3))
    policy.add(2, text(3))
    assert [request.request_id for request in policy.schedule().requests] == [1]
    policy.remove(1)
    assert [request.request_id for request in policy.schedule().requests] == [2]


def test_the_youngest_is_preempted_when_blocks_run_out_and_starts_over():
    policy, blocks = scheduler(num_blocks=4)
    first, second = text(8), text(8, 50)
    policy.add(1, first)
    policy.add(2, second)
    stepped(policy)
    assert blocks.num_free_blocks == 0
    first.append(0)
    second.append(0)
    assert run(policy.schedule()) == [(1, 8, 1, True)]
    policy.remove(1)
    assert run(policy.schedule()) == [(2, 0, 9, True)]


def test_a_waiting_request_can_be_removed():
    policy, _ = scheduler(max_running=1)
    policy.add(1, text(3))
    policy.add(2, text(3))
    policy.schedule()
    policy.remove(2)
    policy.remove(1)
    assert policy.idle


def test_drafts_run_behind_the_last_token_and_count_when_they_are_accepted():
    policy, _ = scheduler()
    written = text(6)
    policy.add(1, written)
    stepped(policy)
    written.append(6)
    output = policy.schedule({1: 3})
    assert [
        (request.num_computed_tokens, request.num_scheduled_tokens, request.num_draft_tokens)
        for request in output.requests
    ] == [(6, 4, 3)]
    policy.update_after_step(output.requests)
    written += [7, 8]
    policy.accept_drafts(1, 1)
    assert run(policy.schedule()) == [(1, 8, 1, True)]


def test_nobody_is_preempted_for_drafts():
    policy, blocks = scheduler(num_blocks=3)
    first, second = text(4), text(3, 50)
    policy.add(1, first)
    policy.add(2, second)
    stepped(policy)
    first.append(0)
    second.append(0)
    output = policy.schedule({1: 8, 2: 8})
    assert [
        (request.request_id, request.num_scheduled_tokens, request.num_draft_tokens)
        for request in output.requests
    ] == [
        (1, 1, 0),
        (2, 1, 0),
    ]
    assert blocks.num_free_blocks == 0


def test_drafts_leave_every_other_request_its_token():
    policy, _ = scheduler(num_blocks=20, max_batch_tokens=6)
    texts = [text(2), text(2, 50), text(2, 90)]
    for request, each in enumerate(texts):
        policy.add(request, each)
    stepped(policy)
    for each in texts:
        each.append(0)
    requests = policy.schedule(dict.fromkeys(range(3), 8)).requests
    assert [request.num_scheduled_tokens - request.num_draft_tokens for request in requests] == [
        1,
        1,
        1,
    ]
    assert sum(request.num_scheduled_tokens for request in requests) <= 6


@pytest.mark.parametrize("length", [2, 20])
def test_drafts_stand_behind_a_single_token_only(length):
    policy, _ = scheduler()
    policy.add(1, text(length))
    assert policy.schedule({1: 4}).requests[0].num_draft_tokens == 0


def test_a_text_that_begins_as_another_goes_on_there():
    policy, _ = scheduler(num_blocks=16, max_cached_prefixes=2)
    policy.add(1, text(10))
    done, copies = stepped(policy)
    assert done == [(1, 0, 10, True)]
    ((window, cached_window),) = (copy.window for copy in copies)
    first = policy.schedule().requests
    assert first == []
    policy.remove(1)
    policy.add(2, [*text(10), 70, 71])
    output = policy.schedule()
    assert run(output) == [(2, 10, 2, True)]
    request = output.requests[0]
    # two blocks are shared, the third was not full
    assert output.copies == [
        CacheCopy((cached_window, request.window), (2, request.block_table[2]))
    ]
    assert request.block_table[:2] == (0, 1)
    assert request.block_table[2] != 2


def test_the_same_text_again_reads_its_last_token_only():
    policy, _ = scheduler(num_blocks=16, max_cached_prefixes=2)
    for request in (1, 2):
        policy.add(request, text(9))
        done, _ = stepped(policy)
        policy.remove(request)
    assert done == [(2, 8, 1, True)]


def test_a_text_goes_on_from_an_answer_that_has_ended():
    policy, _ = scheduler(num_blocks=16, max_cached_prefixes=2)
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


def test_chunks_end_at_cache_points_so_that_others_may_part_there():
    policy, _ = scheduler(num_blocks=32, max_cached_prefixes=4)
    policy.add(1, text(12), cache_points=[0, 7, 12, 99])
    assert stepped(policy)[0] == [(1, 0, 7, False)]
    assert stepped(policy)[0] == [(1, 7, 5, True)]
    policy.add(2, [*text(7), 60, 61])
    policy.remove(1)
    assert stepped(policy)[0] == [(2, 7, 2, True)]


def test_the_second_text_that_parts_from_another_caches_that_place_for_the_third():
    policy, _ = scheduler(num_blocks=32, max_cached_prefixes=4)
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
    policy, _ = scheduler(num_blocks=32, max_batch_tokens=64, max_cached_prefixes=4)
    policy.add(1, [*text(30), 60])
    stepped(policy)
    policy.remove(1)
    # both part from the first after 10 tokens, and from each other after 20
    policy.add(2, [*text(10), *text(10, 70), 80])
    policy.add(3, [*text(10), *text(10, 70), 90])
    assert stepped(policy)[0] == [(2, 0, 10, False)]
    assert stepped(policy)[0] == [(2, 10, 10, False)]
    assert stepped(policy)[0] == [(2, 20, 1, True), (3, 20, 1, True)]


def test_what_is_cached_is_evicted_before_who_runs_is_preempted():
    policy, blocks = scheduler(num_blocks=4, max_cached_prefixes=2)
    policy.add(1, text(8))
    stepped(policy)
    policy.remove(1)
    assert (blocks.num_free_blocks, blocks.num_available_blocks) == (2, 4)
    policy.add(2, text(16, 50))
    assert stepped(policy)[0] == [(2, 0, 16, True)]


def test_a_preempted_request_goes_on_from_its_own_prompt():
    policy, _ = scheduler(num_blocks=5, max_cached_prefixes=2)
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
def test_every_request_is_served_and_no_block_is_lost(data):
    """Texts of two letters begin alike often; what a place holds is checked token by token."""
    policy, blocks = scheduler(
        num_blocks=7,
        max_cached_prefixes=data.draw(st.integers(0, 3)),
        max_batch_tokens=data.draw(st.integers(3, 20)),
    )
    world = World(policy)
    for request in range(data.draw(st.integers(1, 6))):
        prompt = data.draw(st.lists(st.integers(0, 1), min_size=1, max_size=15))
        world.wanted[request] = data.draw(st.integers(1, 12))
        world.texts[request] = prompt
        policy.add(request, prompt, data.draw(st.lists(st.integers(0, 15), max_size=2)))
    drafts = data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=9))
    for at in range(2000):
        if policy.idle:
            break
        most = drafts[at % len(drafts)]
        world.step({each: min(most, n - 1) for each, n in world.wanted.items()}, at % 3)
    assert policy.idle
    assert blocks.num_available_blocks == 7
    assert not world.wanted


class World:
    """What a model does to blocks and windows: it stores which token stands where."""

    WINDOW, NUM_SLOTS = 4, 8

    def __init__(self, policy):
        self.policy = policy
        self.texts, self.wanted = {}, {}
        self.blocks = {block: [None] * BLOCK for block in range(7)}
        self.windows = {window: [None] * self.NUM_SLOTS for window in range(6)}

    def copy(self, copies):
        for copy in copies:
            source, target = copy.window
            self.windows[target] = list(self.windows[source])
            if copy.block is not None:
                source, target = copy.block
                self.blocks[target] = list(self.blocks[source])

    def step(self, drafts, num_accepted):
        output = self.policy.schedule(drafts)
        assert output.requests, "not idle, but nothing runs"
        self.copy(output.copies)
        for request in output.requests:
            known = self.texts[request.request_id]
            assert request.samples == (
                request.num_computed_tokens
                + request.num_scheduled_tokens
                - request.num_draft_tokens
                == len(known)
            )
            assert request.samples or not request.num_draft_tokens
            self.look_back(request, known)
            end = request.num_computed_tokens + request.num_scheduled_tokens
            for at in range(request.num_computed_tokens, end):
                token = known[at] if at < len(known) else "draft"
                self.blocks[request.block_table[at // BLOCK]][at % BLOCK] = token
                if at >= end - self.WINDOW:
                    self.windows[request.window][at % self.NUM_SLOTS] = (at, token)
        self.copy(self.policy.update_after_step(output.requests))
        for request in output.requests:
            if request.samples:
                self.write(request, min(num_accepted, request.num_draft_tokens))

    def look_back(self, request, known):
        assert (
            len(request.block_table) * BLOCK
            >= request.num_computed_tokens + request.num_scheduled_tokens
        )
        for at in range(request.num_computed_tokens):
            assert self.blocks[request.block_table[at // BLOCK]][at % BLOCK] == known[at]
        for at in range(
            max(0, request.num_computed_tokens - self.WINDOW + 1), request.num_computed_tokens
        ):
            assert self.windows[request.window][at % self.NUM_SLOTS] == (at, known[at])

    def write(self, request, num_accepted):
        """Some drafts are accepted, then one more token is sampled."""
        known = self.texts[request.request_id]
        for _ in range(num_accepted):
            at, token = len(known), len(known) % 2
            self.blocks[request.block_table[at // BLOCK]][at % BLOCK] = token
            self.windows[request.window][at % self.NUM_SLOTS] = (at, token)
            known.append(token)
            self.policy.accept_drafts(request.request_id, 1)
        known.append(0)
        self.wanted[request.request_id] -= num_accepted + 1
        if self.wanted[request.request_id] == 0:
            self.copy(self.policy.finish(request.request_id))
            del self.wanted[request.request_id]
