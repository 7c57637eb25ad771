"""How each wall is asked for."""

import os
import sys
from pathlib import Path

import pytest

from ossia.tools.python import landlock
from ossia.tools.python.other_user import FIRST_OF_FEW, may_all_enter, users
from ossia.tools.python.sandboxes import (
    DRIVER,
    InstalledPython,
    Limits,
    SandboxSpec,
    profile,
    start,
    why_not,
)

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="walls of Linux")


@pytest.fixture
def spec(tmp_path):
    return SandboxSpec(
        executable="/opt/py/bin/python3", folders={"/opt/py": "/view/0"},
        packages=("/opt/py/lib/site-packages",), scratch=tmp_path, user=None, limits=Limits(),
        container=("docker", "run", "--name", "{name}", "-i", "python:3"), name="ossia-1",
    )  # fmt: skip


@on_linux
def test_bubblewrap_bounds_every_mount_and_shows_no_more_than_it_must(spec):
    way = start("bubblewrap", spec)
    command = list(way.command)
    for descriptor in way.passed:
        os.close(descriptor)
    for wall in ("--unshare-all", "--disable-userns", "--die-with-parent", "--new-session",
                 "--clearenv", "--seccomp"):  # fmt: skip
        assert wall in command
    mounts = [command[at : at + 3] for at, each in enumerate(command) if each == "--ro-bind"]
    assert ["--ro-bind", "/view/0", "/opt/py"] in mounts
    shown = {target for _, _, target in mounts}
    assert not shown & {"/", "/etc", "/home", "/root", "/run", "/sys", "/var"}
    assert "--bind" not in command
    tmpfs = [at for at, each in enumerate(command) if each == "--tmpfs"]
    assert [command[at + 1] for at in tmpfs] == ["/dev/shm", "/mnt/data", "/tmp"]
    assert all(command[at - 2] == "--size" for at in tmpfs)
    read_only = [command[at + 1] for at, each in enumerate(command) if each == "--remount-ro"]
    assert read_only == ["/proc", "/dev", "/"]
    assert command[-7:] == ["/opt/py/bin/python3", "-I", "-S", "-B", "-u", "-c", DRIVER]


@on_linux
def test_landlock_reads_python_where_it_is_to_be_had(spec):
    way = start("landlock", spec)
    assert way.command[0] == "/view/0/bin/python3"
    assert way.packages == ("/view/0/lib/site-packages",)
    assert way.folder == str(spec.scratch / "data")
    assert way.before is not None


def test_a_container_has_a_name(spec):
    assert start("container", spec).command[:6] == (
        "docker", "run", "--name", "ossia-1", "-i", "python:3",
    )  # fmt: skip


def test_seatbelt_denies_before_it_allows_and_quotes_names():
    lines = profile(read=("/opt/py",), write='/tmp/a"b').splitlines()
    assert lines[:3] == ["(version 1)", "(deny default)", "(deny process-fork)"]
    assert not [line for line in lines if "network" in line]
    assert '(allow file-read* file-write* (subpath "/tmp/a\\"b"))' in lines


def test_what_is_missing_is_said(monkeypatch):
    assert why_not("unsandboxed", ()) is None
    assert why_not("container", ("docker",)) is None
    if sys.platform != "darwin":
        assert why_not("seatbelt", ()) == "Seatbelt is macOS's"
    monkeypatch.setenv("PATH", "/nowhere")
    assert "bwrap is not installed" in (why_not("bubblewrap", ()) or "") or sys.platform != "linux"


@on_linux
def test_a_kernel_without_landlock_is_said(monkeypatch):
    monkeypatch.setattr(landlock, "version", lambda: 0)
    assert "no Landlock" in (why_not("landlock", ()) or "")


def test_our_python_needs_its_own_folders_alone():
    here = InstalledPython.here()
    assert os.access(here.executable, os.X_OK)
    assert here.why_not() is None
    assert all(Path(folder).is_dir() for folder in (*here.folders, *here.packages))


def test_a_python_whose_folder_holds_a_home_is_refused():
    wide = InstalledPython(executable="/x", folders=(str(Path.home().parent),), packages=())
    assert "holds more than Python" in (wide.why_not() or "")


def test_users_belong_to_nobody_and_differ():
    found = users(10)
    assert len(set(found)) == 10
    assert min(found) >= FIRST_OF_FEW
    assert users(10) != found or min(found) == FIRST_OF_FEW


def test_a_closed_folder_on_the_way_closes_all_below(tmp_path):
    inner = tmp_path / "closed" / "inner"
    inner.mkdir(parents=True)
    (tmp_path / "closed").chmod(0o700)
    inner.chmod(0o755)
    assert not may_all_enter(str(inner))
    assert may_all_enter("/usr")
