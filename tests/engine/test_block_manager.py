from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from ossia.engine.block_manager import PageOwner


def owner(num_pages=8, num_windows=3):
    return PageOwner(num_pages=num_pages, num_windows=num_windows, page_tokens=4)


def test_counts_the_pages_that_tokens_need():
    assert [owner().needed(tokens) for tokens in (0, 1, 4, 5)] == [0, 1, 1, 2]


def test_a_kept_page_is_available_but_not_free():
    pages = owner()
    taken = pages.take_pages(3)
    pages.keep(taken[:2])
    assert (pages.free_pages, pages.available) == (5, 5)
    pages.give_back(taken)
    assert (pages.free_pages, pages.available) == (6, 8)
    pages.forget(taken[:2])
    assert (pages.free_pages, pages.available) == (8, 8)


def test_a_shared_page_is_used_until_the_last_gives_it_back():
    pages = owner()
    taken = pages.take_pages(2)
    pages.use(taken)
    pages.give_back(taken)
    assert (pages.free_pages, pages.available) == (6, 6)
    pages.give_back(taken)
    assert pages.free_pages == 8


@given(st.data())
def test_no_page_is_lost_and_none_is_owned_twice(data):
    pages, used, kept = owner(), [], []
    for _ in range(data.draw(st.integers(0, 50))):
        move = data.draw(st.sampled_from(["take", "share", "give back", "keep", "forget"]))
        if move == "take" and pages.free_pages >= (count := data.draw(st.integers(1, 4))):
            taken = pages.take_pages(count)
            assert not {*taken} & {page for each in (*used, *kept) for page in each}
            used.append(taken)
        elif move == "share" and used:
            used.append(used[0][:2])
            pages.use(used[-1])
        elif move == "give back" and used:
            pages.give_back(used.pop(0))
        elif move == "keep" and used:
            kept.append(used[-1][:3])
            pages.keep(kept[-1])
        elif move == "forget" and kept:
            pages.forget(kept.pop(0))
        in_use = Counter(page for each in used for page in each)
        owned = in_use + Counter(page for each in kept for page in each)
        assert pages.available == 8 - len(in_use)
        assert pages.free_pages == 8 - len(owned)


@given(st.lists(st.booleans(), max_size=40))
def test_no_ring_is_lost_and_none_is_owned_twice(moves):
    pages, held = owner(), []
    for is_taken in moves:
        if is_taken and pages.free_rings:
            held.append(pages.take_ring())
        elif not is_taken and held:
            pages.give_ring(held.pop(0))
        assert len({*held}) == len(held) == 3 - pages.free_rings
        assert {*held} <= {0, 1, 2}
