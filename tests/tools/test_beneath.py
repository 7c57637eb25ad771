"""Nothing outside a folder is reached, by either way of opening."""

import os
import sys
import threading

import pytest

from ossia.tools import beneath
from ossia.tools.beneath import open_beneath, walk_beneath


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
    raise OSError(beneath.errno.ENOSYS, "no such call")


@pytest.fixture(params=["openat2", "walk", "openat2 is missing"])
def opened(request, monkeypatch):
    if request.param == "openat2 is missing":
        monkeypatch.setattr(beneath, "_openat2", no_openat2)
    elif request.param == "walk":
        return walk_beneath
    elif sys.platform != "linux":
        pytest.skip("openat2 is Linux's")
    return open_beneath


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
