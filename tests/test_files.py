"""The user's own files are the user's alone."""

import os
import stat
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from ossia.files import (
    atomic_write,
    file_lock,
    make_private_folder,
    private_file,
    state_folder,
)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("OSSIA_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(params=[0, 0o277])
def umask(request):
    before = os.umask(request.param)
    yield
    os.umask(before)


def test_one_variable_moves_everything(home):
    assert state_folder() == home / "state"


def test_without_it_the_system_says_where(monkeypatch, tmp_path):
    monkeypatch.delenv("OSSIA_HOME", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert state_folder().name == "ossia"
    assert tmp_path in state_folder().parents


def test_files_and_folders_are_private(home):
    file = private_file(state_folder(), "history")
    assert (mode(file), mode(file.parent), mode(home)) == (0o600, 0o700, 0o700)


def test_what_was_open_to_all_is_closed(home):
    home.joinpath("state").mkdir(parents=True, mode=0o777)
    home.joinpath("state", "history").write_text("kept")
    file = private_file(state_folder(), "history")
    assert file.read_text() == "kept"
    assert (mode(file), mode(file.parent)) == (0o600, 0o700)


def test_a_place_that_cannot_be_made_is_told(home):
    home.write_text("a file")
    with pytest.raises(OSError, match=str(Path("home"))):
        private_file(state_folder(), "history")


def test_whatever_the_umask_what_is_private_is_private(tmp_path, umask):
    make_private_folder(tmp_path / "a" / "b")
    with atomic_write(tmp_path / "a" / "b" / "file") as file:
        file.write(b"secret")
    assert [mode(tmp_path / part) for part in ("a", "a/b", "a/b/file")] == [0o700, 0o700, 0o600]


def test_by_request_the_umask_decides(tmp_path):
    before = os.umask(0o027)
    try:
        with atomic_write(tmp_path / "file", is_private=False):
            pass
    finally:
        os.umask(before)
    assert mode(tmp_path / "file") == 0o640


def test_folders_that_are_there_stay_as_they_are(tmp_path):
    tmp_path.chmod(0o755)
    make_private_folder(tmp_path)
    assert mode(tmp_path) == 0o755


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NotADirectoryError):
        make_private_folder(tmp_path / "file")


def test_the_new_file_is_not_there_until_it_is_whole(tmp_path):
    with atomic_write(tmp_path / "a") as file:
        file.write(b"abc")
        assert not (tmp_path / "a").exists()
    assert (tmp_path / "a").read_bytes() == b"abc"
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, OSError])
def test_the_old_file_stays_when_the_block_fails(tmp_path, error):
    (tmp_path / "a").write_bytes(b"old")
    with suppress(error), atomic_write(tmp_path / "a") as file:
        file.write(b"half")
        raise error
    assert (tmp_path / "a").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_a_link_is_replaced_and_not_followed(tmp_path):
    (tmp_path / "target").write_bytes(b"another's")
    (tmp_path / "a").symlink_to("target")
    with atomic_write(tmp_path / "a") as file:
        file.write(b"ours")
    assert (tmp_path / "target").read_bytes() == b"another's"
    assert not (tmp_path / "a").is_symlink()


@pytest.mark.parametrize("name", ["n" * 255, "\N{SNOWMAN}" * 85])
def test_the_longest_names_can_be_written(tmp_path, name):
    with atomic_write(tmp_path / name) as file:
        file.write(b"abc")
    assert os.listdir(tmp_path) == [name]


def test_a_lock_excludes_threads(tmp_path):
    inside, order = threading.Event(), []

    def second():
        inside.wait()
        with file_lock(tmp_path / "lock", lambda: order.append("waits")):
            order.append("second")

    thread = threading.Thread(target=second)
    with file_lock(tmp_path / "lock"):
        thread.start()
        inside.set()
        while not order:
            pass
        order.append("first")
    thread.join()
    assert order == ["waits", "first", "second"]
    assert mode(tmp_path / "lock") == 0o600


def test_a_lock_ends_with_the_process_that_holds_it(tmp_path):
    program = (
        "import os, sys; from pathlib import Path; from ossia.files import file_lock\n"
        "with file_lock(Path(sys.argv[1])): os._exit(9)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "lock")], check=False)
    assert done.returncode == 9
    with file_lock(tmp_path / "lock", pytest.fail):
        pass


def test_a_lock_is_not_taken_through_a_link(tmp_path):
    (tmp_path / "lock").symlink_to("elsewhere")
    with pytest.raises(OSError, match="lock"), file_lock(tmp_path / "lock"):
        pass
    assert not (tmp_path / "elsewhere").exists()
