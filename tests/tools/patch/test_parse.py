"""The text of a patch: every form it may take, and no text that breaks the reader."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ossia.tools.patch.parse import (
    MAX_HUNKS,
    MAX_PATCH_CHARS,
    MAX_SECTIONS,
    AddFile,
    DeleteFile,
    Hunk,
    PatchRefused,
    UpdateFile,
    read_patch,
)

WHOLE = """*** Begin Patch
*** Add File: docs/new file.txt
+first
+
+ third
*** Delete File: ./old.txt
*** Update File: a.py
*** Move to: src/b.py
 kept
-gone
+come

 below
@@ class A:
@@     def f():
+more
*** End of File

*** Update File: c.py
@@
-x
*** End Patch
"""
READ = (
    AddFile(("docs", "new file.txt"), ("first", "", " third")),
    DeleteFile(("old.txt",)),
    UpdateFile(
        ("a.py",),
        ("src", "b.py"),
        (
            Hunk((), ((" ", "kept"), ("-", "gone"), ("+", "come"), (" ", ""), (" ", "below"))),
            Hunk(("class A:", "    def f():"), (("+", "more"),), at_end=True),
        ),
    ),
    UpdateFile(("c.py",), None, (Hunk((), (("-", "x"),)),)),
)


def patch(*lines):
    return "\n".join(("*** Begin Patch", *lines, "*** End Patch"))


@pytest.mark.parametrize(
    "text",
    [
        WHOLE,
        f"\n\n{WHOLE}\n\n",
        WHOLE.replace("\n", "\r\n"),
        json.dumps(WHOLE),
        json.dumps({"patch": WHOLE}),
        json.dumps({"command": [WHOLE], "timeout": 3}),
    ],
    ids=["plain", "blank lines", "CRLF", "JSON text", "JSON object", "JSON list"],
)
def test_reads_every_form(text):
    assert read_patch(text) == READ


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "begins with the line"),
        ("*** Begin Patch", "ends with the line"),
        ("*** Update File: a\n-x\n*** End Patch", "begins with the line"),
        (json.dumps([WHOLE, WHOLE]), "begins with the line"),
        (patch(), "the patch is empty"),
        (patch("hello"), "line 2 of the patch: found 'hello', expected a section"),
        (patch("*** Add File: a", "+x", "y"), "line 4 of the patch: found 'y', expected a line"),
        (patch("*** Delete File: a", "-x"), "found '-x', expected a section"),
        (patch("*** Update File: a"), "a is to be updated without any lines"),
        (patch("*** Update File: a", "@@ anchor"), "a is to be updated without any lines"),
        (patch("*** Update File: a", "@@", "xyz"), "a line of a hunk begins with"),
        (patch("*** Update File: a", " x", "*** Move to: b"), "stands once, right below"),
        (patch("*** Update File: a", "*** Move to: b", "*** Move to: c"), "stands once"),
        (patch("*** Update File: a", "-x", "*** End of File", "-y"), "behind"),
        (patch("*** Update File: a", "+\0"), "NUL character"),
        (patch("*** Update File: a", "+\udc80"), "half a character"),
        (patch(*["*** Delete File: a"] * (MAX_SECTIONS + 1)), "at most 200 files"),
        (patch("*** Update File: a", *["@@", "-x"] * (MAX_HUNKS + 1)), "at most 1000 hunks"),
        ("x" * (MAX_PATCH_CHARS + 1), "characters, more than"),
        ("[" * 100_000, "begins with the line"),
    ],
)
def test_what_is_no_patch_is_refused_by_name(text, message):
    with pytest.raises(PatchRefused, match=message.replace("[", r"\[")):
        read_patch(text)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/etc/passwd", "is not a path relative"),
        ("~/x", "is not a path relative"),
        ("..", "leads out"),
        ("a/../b", "leads out"),
        ("a/..", "leads out"),
        ("", "names no file"),
        (".", "names no file"),
        ("a/", "names no file"),
        ("a\tb", "cannot be seen"),
        ("a\u202eb", "cannot be seen"),
    ],
)
@pytest.mark.parametrize("kind", ["Add File", "Delete File", "Update File", "Move to"])
def test_paths_that_lead_out_or_hide_are_refused(path, message, kind):
    above = ["*** Update File: a"] if kind == "Move to" else []
    with pytest.raises(PatchRefused, match=message):
        read_patch(patch(*above, f"*** {kind}: {path}"))


pieces = st.sampled_from(
    [
        *("*** Begin Patch", "*** End Patch", "*** Add File: a", "*** Delete File: b/c"),
        *("*** Update File: d", "*** Move to: e", "*** End of File", "@@", "@@ x", "*** ", "***"),
        *(" x", "-x", "+x", "", " ", "\r", "{", '"', "x", "\\n", "\u2028", "*** Add File: ../a"),
    ]
)


@given(st.lists(pieces | st.text(max_size=5), max_size=30).map("\n".join))
@example("*** Begin Patch\n*** Update File: d\n*** End of File\n*** End Patch")
def test_any_text_is_read_or_refused(text):
    for form in (text, patch(text), json.dumps(patch(text))):
        try:
            sections = read_patch(form)
        except PatchRefused:
            continue
        for section in sections:
            assert ".." not in section.path
            assert all(section.path)
