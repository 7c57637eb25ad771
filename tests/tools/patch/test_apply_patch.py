"""Patches on real files: what they ask for, whole, or nothing at all."""

import asyncio
import os
import stat
import types

import pytest

from ossia.errors import RequestError
from ossia.tools.patch import apply_patch as tool_file
from ossia.tools.patch import file_changes
from ossia.tools.patch.apply_patch import ApplyPatch
from ossia.tools.sessions import to_prompt
from ossia.tools.tool import Toolkit, ToolSession


def patch(*lines):
    return "\n".join(("*** Begin Patch", *lines, "*** End Patch"))


EVERYTHING = patch(
    *("*** Update File: a.txt", " one", "-two", "+zwei", " three"),
    *("*** Delete File: sub/b.txt", "*** Add File: new/deep/c.txt", "+c"),
    *("*** Update File: d.sh", "*** Move to: moved/e.sh", "@@", "-echo", "+print"),
)


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "a.txt").write_bytes(b"one\r\ntwo\r\nthree\r\n")
    (root / "sub" / "b.txt").write_text("b\n")
    (root / "d.sh").write_text("echo\n")
    (root / "d.sh").chmod(0o751)
    (tmp_path / "outside.txt").write_text("outside\n")
    return root


def apply(root, text):
    async def all_of_it():
        session = await ApplyPatch(root).open()
        try:
            (tool,) = session.tools
            return await tool.call(text)
        finally:
            await session.close()
            await session.close()

    return asyncio.run(all_of_it())


def tree(root):
    """Every name below a folder, with mode and content."""
    return {
        path.relative_to(root): (
            stat.S_IMODE(path.lstat().st_mode),
            path.read_bytes() if path.is_file() else os.readlink(path) if path.is_symlink() else "",
        )
        for path in root.rglob("*")
    }


def test_is_offered_as_a_function_of_one_text_that_asks():
    async def session():
        toolkit = ApplyPatch(".")
        opened = await toolkit.open()
        needs = opened.needs_approval("functions.apply_patch", "")
        await opened.close()
        (tool,) = opened.tools
        assert isinstance(toolkit, Toolkit)
        assert (await tool.call("")).text == "error: apply_patch was closed"
        return toolkit.specs[0], needs

    spec, needs = asyncio.run(session())
    assert needs
    assert (spec.approval, spec.input_format, spec.parameters) == ("ask", "text", None)
    assert spec.labels == {"external_effect", "reads_private"}
    assert to_prompt([spec]).functions[0].name == "apply_patch"


def test_an_operator_may_leave_asking_to_the_labels(root):
    async def needs():
        session: ToolSession = await ApplyPatch(root, approval="never").open()
        await session.close()
        return session.needs_approval("functions.apply_patch", "")

    assert not asyncio.run(needs())


def test_changes_all_that_a_patch_names(root):
    before = tree(root)
    result = apply(root, EVERYTHING)
    assert result.text == ("applied:\nM a.txt\nD sub/b.txt\nA new/deep/c.txt\nR d.sh -> moved/e.sh")
    assert not result.is_error
    assert {str(path): content for path, (_, content) in tree(root).items()} == {
        "a.txt": b"one\r\nzwei\r\nthree\r\n",
        "sub": "",
        "new": "",
        "new/deep": "",
        "new/deep/c.txt": b"c\n",
        "moved": "",
        "moved/e.sh": b"print\n",
    }
    assert stat.S_IMODE((root / "moved/e.sh").stat().st_mode) == 0o751
    path = tool_file.DiskPath("a.txt")
    assert tree(root)[path][0] == before[path][0]


def test_a_move_alone_keeps_even_a_binary_file(root):
    (root / "x.bin").write_bytes(b"\0\1")
    result = apply(root, patch("*** Update File: x.bin", "*** Move to: y.bin"))
    assert result.text == "applied:\nR x.bin -> y.bin"
    assert (root / "y.bin").read_bytes() == b"\0\1"
    same = apply(root, patch("*** Update File: a.txt", "*** Move to: ./a.txt", "-two", "+2"))
    assert not same.is_error
    assert (root / "a.txt").read_bytes() == b"one\r\n2\r\nthree\r\n"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["*** Add File: a.txt", "+x"], "a.txt is there already"),
        (["*** Add File: sub", "+x"], "sub is there already"),
        (["*** Add File: a.txt/x", "+x"], "a.txt/x: a part of its path is a link or no folder"),
        (["*** Add File: out/x", "+x"], "out/x: it is a link, or lies behind one"),
        (["*** Add File: out-file", "+x"], "out-file: it is a link"),
        (["*** Delete File: none"], "none: there is no such file"),
        (["*** Delete File: sub"], "sub: it is not a plain file"),
        (["*** Delete File: pipe"], "pipe: it is not a plain file"),
        (["*** Delete File: out-file"], "out-file: it is a link"),
        (["*** Update File: out-file", "-outside", "+x"], "out-file: it is a link"),
        (["*** Update File: near/b.txt", "-b", "+x"], "near/b.txt: it is a link, or lies behind"),
        (["*** Update File: ../outside.txt", "-outside"], "leads out of the folder"),
        (["*** Update File: x.bin", "-x"], "x.bin: it is binary"),
        (["*** Update File: big", "-x"], "big: it has 4194305 bytes, more than 4194304"),
        (["*** Update File: a.txt", "-four"], "a.txt: hunk 1: these lines were not found: 'four'"),
        (["*** Update File: d.sh", "*** Move to: a.txt"], "a.txt is there already"),
        (["*** Delete File: d.sh", "*** Add File: d.sh", "+x"], "d.sh is there already"),
        (["*** Delete File: d.sh", "*** Update File: ./d.sh", "-echo"], "d.sh is named twice"),
        (["*** Add File: n", "+x", "*** Add File: n", "+y"], "n is named twice"),
        (["*** Add File: n", "+x", "*** Add File: n/o", "+y"], "n is there already"),
        ([f"*** Add File: {'n' * 300}", "+x"], "File name too long"),
        (["nonsense"], "line 4 of the patch"),
    ],
)
def test_what_cannot_be_done_changes_nothing(root, lines, message):
    (root / "out").symlink_to("..")
    (root / "near").symlink_to("sub")
    (root / "out-file").symlink_to("../outside.txt")
    (root / "x.bin").write_bytes(b"\0")
    (root / "big").write_bytes(b"x" * (4194304 + 1))
    os.mkfifo(root / "pipe")
    before = tree(root)
    result = apply(root, patch("*** Add File: first/new", "+x", *lines))
    assert result.is_error
    assert result.text.startswith("error: nothing was changed: ")
    assert message in result.text
    assert "\n" not in result.text
    assert tree(root) == before
    assert (root.parent / "outside.txt").read_text() == "outside\n"


def test_too_much_at_once_is_refused(root, monkeypatch):
    monkeypatch.setattr(tool_file, "MAX_TOTAL_BYTES", 20)
    before = tree(root)
    assert "over 20 bytes; make several patches" in apply(root, EVERYTHING).text
    assert tree(root) == before


class FailingDisk(types.SimpleNamespace):
    """The `os` module, until the calls that touch the disk have been counted down."""

    STEPS = frozenset(
        ("open", "link", "rename", "unlink", "mkdir", "write", "fsync", "stat", "fchmod", "fstat")
    )

    def __init__(self, failing, times=1):
        super().__init__(left=failing, times=times, failed=[])

    def __getattr__(self, name):
        real = getattr(os, name)
        if name not in self.STEPS:
            return real

        def step(*arguments, **options):
            self.left -= 1
            if -self.times <= self.left < 0:
                self.failed.append(name)
                if name == "write":
                    real(arguments[0], bytes(arguments[1])[:1])
                raise OSError(5, "Input/output error")
            return real(*arguments, **options)

        return step


def test_a_disk_that_fails_at_any_step_leaves_every_file_as_it_was(root, monkeypatch):
    before = tree(root)
    failed_at = []
    for step in range(200):
        disk = FailingDisk(step)
        monkeypatch.setattr(file_changes, "os", disk)
        result = apply(root, EVERYTHING)
        if not disk.failed:
            break
        failed_at += disk.failed
        if result.is_error:
            assert tree(root) == before, disk.failed
            assert "Input/output error" in result.text
            continue
        left = {name for name in tree(root) if name.name.startswith(".ossia-")}
        assert all(name.name in result.text for name in left)
        assert disk.failed in (["link"], ["unlink"])
        restore(root)
    assert set(failed_at) == FailingDisk.STEPS
    assert not result.is_error
    assert (root / "moved/e.sh").exists()


@pytest.mark.parametrize("taken", [False, True])
def test_a_disk_without_hard_links_will_do(root, monkeypatch, taken):
    class Linkless(types.SimpleNamespace):
        def __getattr__(self, name):
            return refuse if name == "link" else getattr(os, name)

    def refuse(source, name, **options):
        if taken and not name.startswith(".ossia-"):
            (root / "new" / "deep" / "c.txt").write_text("came meanwhile")
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(file_changes, "os", Linkless())
    before = {path: found for path, found in tree(root).items() if path.suffix}
    result = apply(root, EVERYTHING)
    after = {path: found for path, found in tree(root).items() if path.suffix}
    if taken:
        came = tool_file.DiskPath("new/deep/c.txt")
        assert "c.txt is there already" in result.text
        assert after.pop(came)[1] == b"came meanwhile"
        assert after == before
    else:
        assert not result.is_error
        assert sorted(map(str, after)) == ["a.txt", "moved/e.sh", "new/deep/c.txt"]


def restore(root):
    """Take a whole patch back."""
    for path in root.rglob(".ossia-*"):
        path.unlink()
    (root / "moved/e.sh").rename(root / "d.sh")
    (root / "d.sh").write_text("echo\n")
    (root / "new/deep/c.txt").unlink()
    for name in ("new/deep", "new", "moved"):
        (root / name).rmdir()
    (root / "a.txt").write_bytes(b"one\r\ntwo\r\nthree\r\n")
    (root / "sub" / "b.txt").write_text("b\n")


def test_a_disk_that_cannot_even_put_back_is_said_so(root, monkeypatch):
    message = set()
    for step in range(40):
        monkeypatch.setattr(file_changes, "os", FailingDisk(step, times=1000))
        result = apply(root, EVERYTHING)
        if result.is_error:
            message.add(result.text.split(":")[1].strip())
    assert message == {"nothing was changed", "the disk failed and not all could be put back"}


@pytest.mark.parametrize("kind", ["changed", "gone", "came"])
def test_what_others_change_meanwhile_is_not_overwritten(root, monkeypatch, kind):
    def meanwhile(handle, changes):
        if kind == "changed":
            (root / "d.sh").write_text("other\n")
        elif kind == "gone":
            (root / "d.sh").unlink()
        else:
            (root / "moved").mkdir()
            (root / "moved/e.sh").write_text("other\n")
        now.update(tree(root))
        return file_changes.carry_out(handle, changes)

    now = {}
    monkeypatch.setattr(tool_file, "carry_out", meanwhile)
    assert apply(root, EVERYTHING).is_error
    assert tree(root) == now


def test_no_handle_is_left_open(root):
    before = len(os.listdir("/proc/self/fd"))
    apply(root, EVERYTHING)
    apply(root, EVERYTHING)
    apply(root, patch("*** Delete File: sub"))
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_folder_that_is_not_there_is_refused_at_once(tmp_path):
    with pytest.raises(RequestError, match="cannot open .*none: No such file"):
        asyncio.run(ApplyPatch(tmp_path / "none").open())
