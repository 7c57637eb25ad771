"""Use of memory, processors and disk is seen from outside."""

import os
import subprocess
import sys
import time

import pytest

from ossia.tools.python.usage_monitor import (
    _seconds,
    children,
    disk_usage,
    memory_bytes,
    tasks_of,
    usage,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

BUSY = """
import os, time
held = b'x' * 50_000_000
pids = [os.fork() for _ in range(2)]
while time.process_time() < 0.2: pass
print('ready', flush=True)
time.sleep(60)
"""


@pytest.fixture
def group():
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", BUSY], stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        for _ in range(4):
            assert process.stdout.readline() == b"ready\n"
        yield process.pid
        os.killpg(process.pid, 9)


def test_a_group_is_added_up(group):
    used = usage(group)
    assert len(used.pids) == 4
    assert group in used.pids
    assert used.rss_bytes > 200_000_000
    assert used.cpu_seconds > 0.5
    assert len(children(group)) == 2
    assert tasks_of(os.getuid()) >= 4


def test_shared_memory_counts_once(group):
    assert 50_000_000 < memory_bytes(usage(group).pids) < 150_000_000


def test_an_empty_group_uses_nothing():
    process = subprocess.Popen(["true"], start_new_session=True)
    time.sleep(0.1)  # dead, and not waited for
    assert usage(process.pid).pids == ()
    process.wait()
    assert usage(process.pid).pids == ()
    assert memory_bytes((process.pid,)) == 0


def test_files_are_counted_deleted_ones_too(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a").write_bytes(bytes(100_000))
    os.symlink("/usr", tmp_path / "link")
    size, count = disk_usage(tmp_path, (), most_files=100)
    assert 100_000 <= size < 200_000
    assert count == 3
    with open(tmp_path / "gone", "wb") as file:
        file.write(bytes(500_000))
        file.flush()
        os.remove(tmp_path / "gone")
        assert disk_usage(tmp_path, (os.getpid(),), most_files=100)[0] >= 600_000
    assert disk_usage(tmp_path, (), most_files=1)[1] == 2


@pytest.mark.parametrize(("shown", "seconds"), [("0:01.50", 1.5), ("2:00", 120), ("1:00:01", 3601)])
def test_times_of_ps_are_read(shown, seconds):
    assert _seconds(shown) == seconds
