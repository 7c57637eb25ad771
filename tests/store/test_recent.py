from hypothesis import given
from hypothesis import strategies as st

from ossia.store.recent import ENTRY_BYTES, RecentMemory
from tests.store.small_store import Clock


def memory(clock=None, max_bytes=10_000):
    return RecentMemory(max_bytes=max_bytes, max_seconds=3600, clock=clock or Clock())


def test_recalls_what_is_known_of_the_keys_asked_for():
    recent = memory()
    recent.remember("me", {"a": "1", "b": "2"})
    assert recent.recall("me", ["b", "c"]) == {"b": "2"}


def test_owners_do_not_meet():
    recent = memory()
    recent.remember("me", {"a": "1"})
    assert recent.recall("you", ["a"]) == {}
    recent.forget("you", ["a"])
    assert recent.recall("me", ["a"]) == {"a": "1"}


def test_a_known_key_gets_the_new_value():
    recent = memory()
    recent.remember("me", {"a": "1"})
    recent.remember("me", {"a": "2"})
    assert recent.recall("me", ["a"]) == {"a": "2"}


def test_what_nobody_used_for_an_hour_is_gone():
    clock = Clock()
    recent = memory(clock)
    recent.remember("me", {"a": "1", "b": "2"})
    clock.now += 3000
    assert recent.recall("me", ["a"]) == {"a": "1"}
    clock.now += 1000
    assert recent.recall("me", ["a", "b"]) == {"a": "1"}
    clock.now += 3601
    assert recent.recall("me", ["a"]) == {}


def test_what_was_used_least_recently_goes_first():
    recent = memory(max_bytes=4000)
    for key in "abc":
        recent.remember("me", {key: "x" * 800})
    recent.recall("me", ["a"])
    recent.remember("me", {"d": "x" * 800})
    assert recent.recall("me", "abcd").keys() == {"a", "c", "d"}


def test_a_value_larger_than_all_the_memory_is_not_kept_and_drives_nothing_out():
    recent = memory()
    recent.remember("me", {"a": "1", "b": "2"})
    recent.remember("me", {"b": "x" * 10_000})
    assert recent.recall("me", ["a", "b"]) == {"a": "1"}


def test_wide_characters_count_what_they_weigh():
    recent = memory(max_bytes=10_000)
    recent.remember("me", {"a": "\U0001f600" * 2500})
    assert recent.recall("me", ["a"]) == {}


@given(
    st.lists(
        st.tuples(st.sampled_from("abcdef"), st.integers(0, 700), st.integers(0, 2000)),
        max_size=60,
    )
)
def test_holds_the_most_recently_used_that_fit(calls):
    clock = Clock()
    recent = memory(clock, max_bytes=3000)
    known = {}  # a dict keeps the order of use
    for key, size, seconds in calls:
        clock.now += seconds
        known = {old: one for old, one in known.items() if one[1] >= clock.now - 3600}
        if size % 3 == 0:
            expected = {key: known[key][0]} if key in known else {}
            assert recent.recall("me", [key]) == expected
            value = expected.get(key)
        elif size % 3 == 1:
            recent.forget("me", [key])
            value = None
        else:
            value = "x" * size
            recent.remember("me", {key: value})
        known.pop(key, None)
        if value is not None:
            known[key] = (value, clock.now)
        while sum(ENTRY_BYTES + 51 + 50 + 49 + len(value) for value, _ in known.values()) > 3000:
            del known[next(iter(known))]
    assert recent.recall("me", "abcdef") == {key: value for key, (value, _) in known.items()}
