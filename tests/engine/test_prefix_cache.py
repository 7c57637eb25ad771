from hypothesis import given
from hypothesis import strategies as st

from ossia.engine.block_manager import PageOwner
from ossia.engine.prefix_cache import PrefixCache

PAGE = 4


def cache(max_kept=2, num_pages=12):
    owner = PageOwner(num_pages=num_pages, num_windows=max_kept, page_tokens=PAGE)
    return PrefixCache(owner, max_kept=max_kept), owner


def kept(prefixes, owner, *texts):
    """Keep texts as sequences do that end at once."""
    for text in texts:
        prefixes.make_room(owner.needed(len(text)))
        pages = owner.take_pages(owner.needed(len(text)))
        prefixes.keep(text, pages)
        owner.give_back(pages)


def test_finds_the_longest_beginning():
    prefixes, owner = cache()
    kept(prefixes, owner, [1, 2], [1, 2, 3, 4, 5])
    assert prefixes.find([1, 2, 3, 4, 5, 6]).tokens == (1, 2, 3, 4, 5)
    assert prefixes.find([1, 2, 3, 4]).tokens == (1, 2)
    assert prefixes.find([2, 2, 3, 4]) is None
    assert prefixes.find([1]) is None


def test_the_whole_text_is_a_beginning_too():
    prefixes, owner = cache()
    kept(prefixes, owner, [1, 2, 3])
    assert prefixes.find([1, 2, 3]).tokens == (1, 2, 3)


def test_knows_how_far_texts_go_together():
    prefixes, owner = cache()
    assert prefixes.parting([1, 2, 3]) == 0
    kept(prefixes, owner, [1, 2, 3, 4, 5, 6], [7, 8])
    assert prefixes.parting([1, 2, 3, 9]) == 3
    assert prefixes.parting([7]) == 1
    assert prefixes.parting([5]) == 0


def test_keeps_a_text_once():
    prefixes, owner = cache()
    pages = owner.take_pages(1)
    assert prefixes.keep([1, 2], pages) == 0
    assert prefixes.keep([1, 2], pages) is None
    assert prefixes.keep([1, 3], pages) == 1
    assert len(prefixes) == 2


def test_forgets_what_was_used_longest_ago():
    prefixes, owner = cache()
    kept(prefixes, owner, [1], [2])
    prefixes.find([1, 5])
    kept(prefixes, owner, [3])
    assert prefixes.find([2]) is None
    assert prefixes.find([1]) is not None


def test_the_shortest_of_the_beginnings_of_a_text_counts_as_used_last():
    prefixes, owner = cache()
    kept(prefixes, owner, [1], [1, 2])
    prefixes.find([1, 2, 3])
    kept(prefixes, owner, [4])
    assert prefixes.find([1, 2, 3]).tokens == (1,)


def test_makes_room_by_forgetting_and_no_more_than_needed():
    prefixes, owner = cache(num_pages=4)
    kept(prefixes, owner, [1] * 8, [2] * 8)
    assert (owner.free_pages, owner.available) == (0, 4)
    prefixes.make_room(1)
    assert owner.free_pages == 2
    assert [prefixes.find([n] * 8) is None for n in (1, 2)] == [True, False]


def test_a_page_in_use_is_not_freed_by_forgetting():
    prefixes, owner = cache(max_kept=1)
    pages = owner.take_pages(2)
    prefixes.keep([1] * 8, pages)
    kept(prefixes, owner, [2])
    assert owner.free_pages == 12 - 2 - 1
    assert len({*owner.take_pages(9), *pages}) == 11


def test_keeps_nothing_when_told_so():
    prefixes, owner = cache(max_kept=0)
    assert prefixes.keep([1], owner.take_pages(1)) is None
    assert prefixes.find([1]) is None


@given(st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=12), max_size=12))
def test_what_is_found_is_what_a_list_of_all_kept_texts_would_say(texts):
    prefixes, owner = cache(max_kept=20, num_pages=60)
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
        assert prefixes.parting(text) == max(common, default=0)
        kept(prefixes, owner, text)
