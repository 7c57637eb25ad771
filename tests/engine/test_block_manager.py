from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from ossia.engine.block_manager import BlockManager


def manager(num_blocks=8, num_windows=3):
    return BlockManager(num_blocks=num_blocks, num_windows=num_windows, block_size=4)


def test_counts_the_blocks_that_tokens_need():
    assert [manager().blocks_for(tokens) for tokens in (0, 1, 4, 5)] == [0, 1, 1, 2]


def test_a_pinned_block_is_available_but_not_free():
    blocks = manager()
    allocated = blocks.allocate(3)
    blocks.pin(allocated[:2])
    assert (blocks.num_free_blocks, blocks.num_available_blocks) == (5, 5)
    blocks.free(allocated)
    assert (blocks.num_free_blocks, blocks.num_available_blocks) == (6, 8)
    blocks.unpin(allocated[:2])
    assert (blocks.num_free_blocks, blocks.num_available_blocks) == (8, 8)


def test_a_shared_block_is_used_until_the_last_frees_it():
    blocks = manager()
    allocated = blocks.allocate(2)
    blocks.share(allocated)
    blocks.free(allocated)
    assert (blocks.num_free_blocks, blocks.num_available_blocks) == (6, 6)
    blocks.free(allocated)
    assert blocks.num_free_blocks == 8


@given(st.data())
def test_no_block_is_lost_and_none_is_owned_twice(data):
    blocks, used, pinned = manager(), [], []
    for _ in range(data.draw(st.integers(0, 50))):
        move = data.draw(st.sampled_from(["allocate", "share", "free", "pin", "unpin"]))
        if move == "allocate" and blocks.num_free_blocks >= (count := data.draw(st.integers(1, 4))):
            allocated = blocks.allocate(count)
            assert not {*allocated} & {block for each in (*used, *pinned) for block in each}
            used.append(allocated)
        elif move == "share" and used:
            used.append(used[0][:2])
            blocks.share(used[-1])
        elif move == "free" and used:
            blocks.free(used.pop(0))
        elif move == "pin" and used:
            pinned.append(used[-1][:3])
            blocks.pin(pinned[-1])
        elif move == "unpin" and pinned:
            blocks.unpin(pinned.pop(0))
        in_use = Counter(block for each in used for block in each)
        owned = in_use + Counter(block for each in pinned for block in each)
        assert blocks.num_available_blocks == 8 - len(in_use)
        assert blocks.num_free_blocks == 8 - len(owned)


@given(st.lists(st.booleans(), max_size=40))
def test_no_window_is_lost_and_none_is_owned_twice(moves):
    blocks, windows = manager(), []
    for is_allocation in moves:
        if is_allocation and blocks.num_free_windows:
            windows.append(blocks.allocate_window())
        elif not is_allocation and windows:
            blocks.free_window(windows.pop(0))
        assert len({*windows}) == len(windows) == 3 - blocks.num_free_windows
        assert {*windows} <= {0, 1, 2}
