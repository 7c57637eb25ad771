"""Where hunks belong: exactly first, then but for blanks, never in one of two places by guess."""

import difflib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.fuzz_patches import fuzz
from ossia.tools.patch.match import patched
from ossia.tools.patch.parse import Hunk, PatchRefused, UpdateFile, read_patch

PROGRAM = """class A:
    def f(self):
        return 1

    def g(self):
        return 2


class B:
    def f(self):
        return 1
""".splitlines()


def hunks_of(*lines):
    text = "\n".join(("*** Begin Patch", "*** Update File: f", *lines, "*** End Patch"))
    (section,) = read_patch(text)
    assert isinstance(section, UpdateFile)
    return section.hunks


def after(lines, *patch):
    found = patched(lines, hunks_of(*patch))
    return [lines[each] if isinstance(each, int) else each for each in found]


def changed(lines, *changes):
    """The lines with some replaced, by number."""
    found = list(lines)
    for number, text in changes:
        found[number] = text
    return found


def test_the_first_exact_place_is_taken():
    got = after(PROGRAM, " def f(self):".replace(" d", "     d"), "-        return 1", "+        x")
    assert got == changed(PROGRAM, (2, "        x"))


def test_hunks_come_in_file_order():
    hunk = ["@@", "-        return 1", "+        x"]
    assert after(PROGRAM, *hunk, *hunk) == changed(PROGRAM, (2, "        x"), (10, "        x"))


def test_anchors_lead_to_the_place():
    got = after(PROGRAM, "@@ class B:", "@@ def f(self):", "-        return 1", "+        x")
    assert got == changed(PROGRAM, (10, "        x"))


def test_an_anchor_that_was_passed_still_holds():
    hunk = ["@@ class A:", "-        return 1", "+        x"]
    again = ["@@ class A:", "-        return 2", "+        y"]
    assert after(PROGRAM, *hunk, *again) == changed(PROGRAM, (2, "        x"), (5, "        y"))


def test_blanks_may_differ_where_there_is_one_place():
    assert after(["a  ", "  b", "c"], " a", "-b", "+x") == ["a  ", "x", "c"]
    assert after(["  a", "b"], "-a ") == ["b"]


def test_the_end_of_the_file_is_tried_first():
    lines = ["a", "b", "a", "b"]
    assert after(lines, " a", "-b", "+x", "*** End of File") == ["a", "b", "a", "x"]
    assert after(lines, " b", "-a", "*** End of File") == ["a", "b", "b"]
    assert after([" a", "b", " a"], "-a", "*** End of File") == [" a", "b"]


@pytest.mark.parametrize(
    ("patch", "expected"),
    [
        (["+x"], ["a", "b", "x"]),
        (["@@ a", "+x"], ["a", "x", "b"]),
        (["@@ a", "+x", "*** End of File"], ["a", "b", "x"]),
        (["@@", "+x", "+y"], ["a", "b", "x", "y"]),
    ],
)
def test_new_lines_alone_stand_below_the_anchor_or_at_the_end(patch, expected):
    assert after(["a", "b"], *patch) == expected


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        (["@@ class C:", "+x"], "hunk 1: the anchor 'class C:' is not in the file"),
        (["@@ def f(self):", "+x"], "hunk 1: the anchor 'def f(self):' stand nowhere as given"),
        (["-return 1"], "hunk 1: the lines 'return 1' stand nowhere as given"),
        (
            ["@@", "-class A:", "@@", " class A:", "-    zzz"],
            "hunk 2: these lines were not found below line 1: 'class A:', '    zzz'; "
            "not in the file: '    zzz'",
        ),
        (["-class B:", "-class A:"], "'class B:', 'class A:'; all there, but not in a row"),
        (["@@ class B:", "-        return 2"], "not found below line 9"),
        ([f"-{n}" for n in range(9)], "'4' and 4 more"),
    ],
)
def test_what_fits_nowhere_or_twice_is_refused(patch, message):
    with pytest.raises(PatchRefused) as refused:
        after(PROGRAM, *patch)
    assert message in str(refused.value)


def written(old, new, context):
    """A patch's lines that turn one text into another."""
    lines = []
    for group in difflib.SequenceMatcher(None, old, new, autojunk=False).get_grouped_opcodes(
        context
    ):
        lines.append("@@")
        for kind, a, b, c, d in group:
            if kind == "equal":
                lines += [f" {line}" for line in old[a:b]]
            else:
                lines += [f"-{line}" for line in old[a:b]]
                lines += [f"+{line}" for line in new[c:d]]
    return lines


texts = st.lists(st.text(st.sampled_from("ab \t-+@*é\r"), max_size=3), max_size=12)


@given(texts, texts)
def test_the_difference_of_two_texts_applied_to_the_first_gives_the_second(old, new):
    lines = written(old, new, context=100)
    assert not lines or after(old, *lines) == new


@given(st.lists(st.integers(0, 30).map(str), unique=True), st.data())
def test_so_it_does_with_little_context(old, data):
    new = data.draw(st.lists(st.sampled_from([*old, "x", "y"]), max_size=30))
    common = [line for line in old if line in new]
    new = [line for line in new if line in "xy"] + common if data.draw(st.booleans()) else common
    lines = written(old, new, context=1)
    if lines and not any(line.startswith((" ", "-")) for line in lines):
        assert after(old, *lines) == [*old, *(line[1:] for line in lines[1:])]
    elif lines:
        assert after(old, *lines) == new


def test_many_lines_all_alike_take_no_time():
    lines = [""] * 200_000 + ["x"]
    hunk = Hunk((), (*[(" ", "")] * 50_000, ("-", "x")))
    begun = time.process_time()
    assert len(patched(lines, [hunk])) == 200_000
    with pytest.raises(PatchRefused):
        patched(lines, [Hunk((), (*[(" ", " ")] * 50_000, ("-", "y")))])
    assert time.process_time() - begun < 5


def test_damaged_patches_are_applied_or_refused():
    found = fuzz(2000, seed=1)
    assert found["same"] > 1500
    assert min(found["read"], found["refused"]) > 200
