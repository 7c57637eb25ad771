from hypothesis import given
from hypothesis import strategies as st

from ossia.engine.pages import PageOwner


def owner(num_pages=8, num_rings=3):
    return PageOwner(num_pages=num_pages, num_rings=num_rings, page_tokens=4)


def test_counts_the_pages_that_are_missing():
    assert owner().missing(0, 1) == 1
    assert owner().missing(0, 4) == 1
    assert owner().missing(1, 5) == 1
    assert owner().missing(3, 5) == 0


@given(st.lists(st.one_of(st.integers(1, 4), st.none()), max_size=60))
def test_no_page_is_lost_and_none_is_owned_twice(moves):
    pages, held = owner(), []
    for move in moves:
        if move is None and held:
            pages.give_back(*held.pop(0))
        elif move is not None and pages.free_pages >= move and pages.free_rings:
            held.append((pages.take_pages(move), pages.take_ring()))
        owned = [page for taken, _ in held for page in taken]
        rings = [ring for _, ring in held]
        assert len(set(owned)) == len(owned) == 8 - pages.free_pages
        assert len(set(rings)) == len(rings) == 3 - pages.free_rings
        assert set(owned) <= set(range(8))
        assert set(rings) <= set(range(3))
