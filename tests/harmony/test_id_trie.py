import pytest

from ossia.harmony.id_trie import IdTrie


def walk(trie, ids):
    node = 0
    for token_id in ids:
        node = trie.children[node][token_id]
    return trie.complete.get(node)


def test_every_name_is_found_at_the_end_of_its_ids():
    trie = IdTrie({"ab": (1, 2), "abc": (1, 2, 3), "d": (4,)})
    assert walk(trie, (1, 2)) == "ab"
    assert walk(trie, (1, 2, 3)) == "abc"
    assert walk(trie, (1,)) is None
    assert set(trie.children[0]) == {1, 4}


@pytest.mark.parametrize(
    ("names", "prefix"),
    [
        ({"a": (1, 2, 3), "b": (1, 2, 4)}, (1, 2)),
        ({"a": (1, 2), "b": (1, 2, 4)}, (1, 2)),
        ({"a": (1, 2)}, (1, 2)),
        ({"a": (1,), "b": (2,)}, ()),
        ({}, ()),
    ],
)
def test_the_common_prefix_is_what_every_name_begins_with(names, prefix):
    assert IdTrie(names).common_prefix() == prefix


def test_a_name_has_ids():
    with pytest.raises(ValueError, match="'a' has no ids"):
        IdTrie({"a": ()})
