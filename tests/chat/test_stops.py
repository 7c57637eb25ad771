from hypothesis import given
from hypothesis import strategies as st

from ossia.chat.stops import StopFinder

TEXT = st.text("abc", max_size=30)


def shown(pieces, stops):
    finder = StopFinder(stops)
    text = "".join(finder.push(piece) for piece in pieces)
    return text + finder.close(), finder.found


def test_text_ends_before_the_stop():
    assert shown(["hello\nwor", "ld"], ["\n"]) == ("hello", True)


def test_a_stop_split_over_pieces_is_found():
    assert shown(["one E", "N", "D two"], ["END"]) == ("one ", True)


def test_what_only_began_a_stop_is_shown_in_the_end():
    assert shown(["one EN"], ["END"]) == ("one EN", False)


def test_nothing_that_may_begin_a_stop_is_shown_early():
    finder = StopFinder(["END"])
    assert finder.push("one E") == "one "
    assert finder.push("x") == "Ex"


@given(TEXT, st.lists(st.text("abc", min_size=1, max_size=4), max_size=3), st.data())
def test_the_split_of_the_text_does_not_matter(text, stops, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    places = [text.find(stop) for stop in stops if stop in text]
    # a stop that ends first wins over one that begins earlier but ends later
    found, has_stopped = shown(pieces, stops)
    assert has_stopped == bool(places)
    if not places:
        assert found == text
    else:
        assert text.startswith(found)
        assert not any(stop in found for stop in stops)
        assert any(text.startswith(stop, len(found)) for stop in stops)
