"""Text files as lines and back: what is not changed keeps its bytes."""

import codecs
import errno
import os
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ossia.tools.patch import file_changes
from ossia.tools.patch.file_changes import TextBytes, new_file, safe_open, safe_open_by_steps
from ossia.tools.patch.parse import PatchRefused


@given(st.binary(max_size=50) | st.text(st.sampled_from("a\r\n\ufeffé")).map(str.encode))
def test_an_unchanged_file_keeps_every_byte(content):
    try:
        text = TextBytes.read(content)
    except PatchRefused:
        assert b"\0" in content or content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
        return
    assert text.after(list(range(len(text.lines)))) == content


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be"])
def test_the_encoding_is_kept(encoding):
    mark = codecs.BOM_UTF16_BE if encoding == "utf-16-be" else b""
    text = TextBytes.read(mark + "é\r\nb\r\n".encode(encoding))
    assert text.lines == ("é", "b")
    assert text.after([0, "ü", 1]) == mark + "é\r\nü\r\nb\r\n".encode(encoding)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"a\nb\n", b"a\nx\n"),
        (b"a\r\nb\r\n", b"a\r\nx\r\n"),
        (b"a\nb", b"a\nx"),
        (b"a\r\nb", b"a\nx"),
        (b"a\nb\r\nc\n", b"a\nx\n"),
    ],
)
def test_new_lines_end_as_the_old_ones_do(before, after):
    assert TextBytes.read(before).after([0, "x"]) == after.replace(
        b"a\n", b"a\r\n" if before.startswith(b"a\r") else b"a\n"
    )


def test_a_line_that_becomes_the_last_or_no_longer_is_gets_the_end_it_needs():
    assert TextBytes.read(b"a\nb").after([1, 0]) == b"b\na"
    assert TextBytes.read(b"").after(["a"]) == b"a\n"
    assert TextBytes.read(b"a\n").after([]) == b""
    assert TextBytes.read(b"a\r\nb\r\n").after([0, "x\r", 1]) == b"a\r\nx\r\nb\r\n"


def test_an_unknown_encoding_takes_plain_lines_only():
    text = TextBytes.read("café\n".encode("latin-1"))
    assert text.after([0, "x"]) == b"caf\xe9\nx\n"
    with pytest.raises(PatchRefused, match="encoding is not known"):
        text.after([0, "é"])


@pytest.mark.parametrize("content", [b"a\0b", codecs.BOM_UTF16_LE + b"abc"])
def test_binary_files_are_refused(content):
    with pytest.raises(PatchRefused, match="text files only"):
        TextBytes.read(content)


def test_a_new_file_ends_with_a_newline():
    assert new_file(["a", "é"]) == "a\né\n".encode()
    assert new_file([]) == b""


@pytest.fixture
def root(tmp_path):
    (tmp_path / "root" / "sub").mkdir(parents=True)
    (tmp_path / "root" / "sub" / "file").write_text("inside")
    (tmp_path / "rootling").mkdir()
    (tmp_path / "rootling" / "file").write_text("outside")
    for name, target in (
        ("up", ".."),
        ("absolute", tmp_path / "rootling"),
        ("near", "sub"),
        ("file-link", "sub/file"),
        ("proc", f"/proc/self/fd/{0}"),
    ):
        (tmp_path / "root" / name).symlink_to(target)
    handle = os.open(tmp_path / "root", os.O_RDONLY)
    yield handle
    os.close(handle)


def no_openat2(root, path, flags):
    raise OSError(errno.ENOSYS, "no such call")


@pytest.fixture(params=["openat2", "walk", "openat2 is missing"])
def opened(request, monkeypatch):
    if request.param == "openat2 is missing":
        monkeypatch.setattr(file_changes, "_openat2", no_openat2)
    elif request.param == "walk":
        return safe_open_by_steps
    elif sys.platform != "linux":
        pytest.skip("openat2 is Linux's")
    return safe_open


def read(handle):
    with os.fdopen(handle, "rb") as file:
        return file.read()


def test_opens_what_lies_below(root, opened):
    assert read(opened(root, ("sub", "file"), os.O_RDONLY)) == b"inside"
    handle = opened(root, (), os.O_RDONLY | os.O_DIRECTORY)
    assert os.path.samestat(os.fstat(handle), os.fstat(root))
    os.close(handle)


@pytest.mark.parametrize(
    "names",
    [
        ("up", "rootling", "file"),
        ("absolute", "file"),
        ("near", "file"),
        ("file-link",),
        ("proc",),
        ("..", "rootling", "file"),
        ("sub", "..", "..", "rootling", "file"),
        ("/etc/passwd",),
        ("sub/../../rootling/file",),
        ("../rootling", "file"),
        ("sub", "", "file"),
        ("sub\0", "file"),
        ("absent",),
        ("sub", "file", "x"),
    ],
)
def test_opens_nothing_else(root, opened, names):
    before = set(os.listdir("/proc/self/fd")) if sys.platform == "linux" else set()
    with pytest.raises(OSError):  # noqa: PT011
        opened(root, names, os.O_RDONLY)
    after = set(os.listdir("/proc/self/fd")) if sys.platform == "linux" else set()
    assert len(after) == len(before)


def test_a_folder_swapped_for_a_link_meanwhile_leads_nowhere(root, opened, tmp_path):
    """Whatever wins the race, what is read lies inside."""
    stop = threading.Event()
    folder, spare, link = (tmp_path / "root" / name for name in ("sub", "spare", "link"))
    link.symlink_to(tmp_path / "rootling")

    def swap():
        while not stop.is_set():
            os.rename(folder, spare)
            os.rename(link, folder)
            os.rename(folder, link)
            os.rename(spare, folder)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        seen = set()
        for _ in range(1500):
            try:
                seen.add(read(opened(root, ("sub", "file"), os.O_RDONLY)))
            except OSError:
                seen.add("refused")
    finally:
        stop.set()
        thread.join()
    assert seen <= {b"inside", "refused"}
    assert read(opened(root, ("sub", "file"), os.O_RDONLY)) == b"inside"
