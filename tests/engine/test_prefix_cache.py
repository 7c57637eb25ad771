from hypothesis import given
from hypothesis import strategies as st

from ossia.engine.block_manager import BlockManager
from ossia.engine.prefix_cache import PrefixCache

BLOCK = 4


def cache(max_entries=2, num_blocks=12):
    blocks = BlockManager(num_blocks=num_blocks, num_windows=max_entries, block_size=BLOCK)
    return PrefixCache(blocks, max_entries=max_entries), blocks


def cached(prefixes, blocks, *texts):
    """Cache texts as sequences do that end at once."""
    for text in texts:
        prefixes.evict_until_free(blocks.blocks_for(len(text)))
        own = blocks.allocate(blocks.blocks_for(len(text)))
        prefixes.insert(text, own)
        blocks.free(own)


def test_finds_the_longest_beginning():
    prefixes, blocks = cache()
    cached(prefixes, blocks, [1, 2], [1, 2, 3, 4, 5])
    assert prefixes.find([1, 2, 3, 4, 5, 6]).tokens == (1, 2, 3, 4, 5)
    assert prefixes.find([1, 2, 3, 4]).tokens == (1, 2)
    assert prefixes.find([2, 2, 3, 4]) is None
    assert prefixes.find([1]) is None


def test_the_whole_text_is_a_beginning_too():
    prefixes, blocks = cache()
    cached(prefixes, blocks, [1, 2, 3])
    assert prefixes.find([1, 2, 3]).tokens == (1, 2, 3)


def test_knows_how_far_texts_go_together():
    prefixes, blocks = cache()
    assert prefixes.longest_common_prefix([1, 2, 3]) == 0
    cached(prefixes, blocks, [1, 2, 3, 4, 5, 6], [7, 8])
    assert prefixes.longest_common_prefix([1, 2, 3, 9]) == 3
    assert prefixes.longest_common_prefix([7]) == 1
    assert prefixes.longest_common_prefix([5]) == 0


def test_caches_a_text_once():
    prefixes, blocks = cache()
    own = blocks.allocate(1)
    assert prefixes.insert([1, 2], own) == 0
    assert prefixes.insert([1, 2], own) is None
    assert prefixes.insert([1, 3], own) == 1
    assert len(prefixes) == 2


def test_evicts_the_least_recently_used():
    prefixes, blocks = cache()
    cached(prefixes, blocks, [1], [2])
    prefixes.find([1, 5])
    cached(prefixes, blocks, [3])
    assert prefixes.find([2]) is None
    assert prefixes.find([1]) is not None


def test_the_shortest_of_the_beginnings_of_a_text_counts_as_used_last():
    prefixes, blocks = cache()
    cached(prefixes, blocks, [1], [1, 2])
    prefixes.find([1, 2, 3])
    cached(prefixes, blocks, [4])
    assert prefixes.find([1, 2, 3]).tokens == (1,)


def test_makes_room_by_evicting_and_no_more_than_needed():
    prefixes, blocks = cache(num_blocks=4)
    cached(prefixes, blocks, [1] * 8, [2] * 8)
    assert (blocks.num_free_blocks, blocks.num_available_blocks) == (0, 4)
    prefixes.evict_until_free(1)
    assert blocks.num_free_blocks == 2
    assert [prefixes.find([n] * 8) is None for n in (1, 2)] == [True, False]


def test_a_block_in_use_is_not_freed_by_eviction():
    prefixes, blocks = cache(max_entries=1)
    own = blocks.allocate(2)
    prefixes.insert([1] * 8, own)
    cached(prefixes, blocks, [2])
    assert blocks.num_free_blocks == 12 - 2 - 1
    assert len({*blocks.allocate(9), *own}) == 11


def test_caches_nothing_without_entries():
    prefixes, blocks = cache(max_entries=0)
    assert prefixes.insert([1], blocks.allocate(1)) is None
    assert prefixes.find([1]) is None


@given(st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=12), max_size=12))
def test_what_is_found_is_what_a_list_of_all_cached_texts_would_say(texts):
    prefixes, blocks = cache(max_entries=20, num_blocks=60)
    for at, text in enumerate(texts):
        earlier = texts[:at]
        longest = max((one for one in earlier if text[: len(one)] == one), key=len, default=None)
        found = prefixes.find(text)
        assert (None if found is None else [*found.tokens]) == longest
        parted = [
            next((n for n, (a, b) in enumerate(zip(one, text, strict=False)) if a != b), None)
            for one in earlier
        ]
        shortest = [min(len(one), len(text)) for one in earlier]
        common = [s if p is None else p for p, s in zip(parted, shortest, strict=True)]
        assert prefixes.longest_common_prefix(text) == max(common, default=0)
        cached(prefixes, blocks, text)


def test_prefixes_of_another_salt_are_not_found():
    prefixes, blocks = cache()
    own = blocks.allocate(1)
    assert prefixes.insert([1, 2], own, "one") is not None
    assert prefixes.find([1, 2, 3]) is None
    assert prefixes.longest_common_prefix([1, 2, 3]) == 0
    assert prefixes.insert([1, 2], own, "other") is not None
    assert prefixes.find([1, 2, 3], "one").tokens == (1, 2)
