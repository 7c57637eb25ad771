"""What we start can be ended, with all it started, and is told nothing that is not its business."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from ossia.processes import (
    end_group,
    inherited_environment,
    kill_group,
    limit_memory,
    run_module,
    signal_group,
    spawn,
    spawn_async,
    spawn_module,
)

FORK = "import os, time; print(os.fork() or os.getpid(), flush=True); time.sleep(60)"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + FORK


def is_gone(pid):
    for _ in range(500):
        try:
            with open(f"/proc/{pid}/stat") as status:
                if status.read().rsplit(")", 1)[1].split()[0] == "Z":
                    return True  # dead, and nobody has reaped it here
        except FileNotFoundError:
            return True
        time.sleep(0.01)
    return False


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Makes a module that only a child finds."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def make(source):
        (tmp_path / "of_a_test.py").write_text(source)
        return "of_a_test"

    return make


def test_a_child_is_killed_with_all_it_started():
    with spawn([sys.executable, "-c", FORK], env={}) as process:
        pids = [int(process.stdout.readline()) for _ in range(2)]
        kill_group(process)
    assert all(map(is_gone, pids))
    assert process.returncode == -signal.SIGKILL


def test_a_child_hears_no_interrupt_of_our_terminal():
    with spawn([sys.executable, "-c", FORK], env={}) as process:
        assert os.getsid(process.pid) == process.pid
        kill_group(process)


def test_a_signal_to_one_that_is_gone_does_no_harm():
    with spawn([sys.executable, "-c", ""], env={}) as process:
        process.wait()
    signal_group(process.pid)


def test_a_module_gets_no_secret_and_imports_nothing_from_the_working_directory(
    module, tmp_path, monkeypatch
):
    here = tmp_path / "here"
    here.mkdir()
    (here / "json.py").write_text("raise SystemExit('ours is imported')")
    monkeypatch.chdir(here)
    monkeypatch.setenv("OSSIA_API_KEY", "secret")
    monkeypatch.setenv("LANG", "C.UTF-8")
    name = module(
        "import json, os, sys, ossia; print(json.dumps([dict(os.environ), sys.argv[1:], "
        "sys.stdin.read()]))"
    )
    done = run_module(name, "one", content=b"text", timeout_seconds=30)
    environment, arguments, content = json.loads(done.stdout)
    assert (done.returncode, arguments, content) == (0, ["one"], "text")
    assert environment["LANG"] == "C.UTF-8"
    assert "OSSIA_API_KEY" not in environment


def test_a_module_that_takes_too_long_is_killed_with_all_it_started(module, tmp_path):
    pids = tmp_path / "pids"
    name = module(
        f"import os, time; pid = os.fork(); open({str(pids)!r}, 'a').write(f'{{os.getpid()}} '); "
        "time.sleep(60)"
    )
    with pytest.raises(subprocess.TimeoutExpired):
        run_module(name, content=b"", timeout_seconds=1)
    assert all(is_gone(int(pid)) for pid in pids.read_text().split())


def test_a_module_sees_the_end_of_its_input_when_we_go(module):
    program = (
        "import sys; from ossia.processes import spawn_module; "
        "print(spawn_module('of_a_test').pid, flush=True); sys.stdin.read()"
    )
    module("import sys; sys.stdin.read()")
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        pid = int(parent.stdout.readline())
        parent.kill()
    assert is_gone(pid)


def test_a_module_that_is_not_there_fails():
    with spawn_module("ossia.of_no_such_name") as process:
        assert process.communicate(b"") == (b"", None)
    assert process.returncode == 1


@pytest.mark.parametrize(
    ("program", "status"), [(FORK, -signal.SIGTERM), (STUBBORN, -signal.SIGKILL)]
)
def test_a_child_of_a_loop_is_asked_and_then_made_to_go(program, status):
    async def run():
        command = [sys.executable, "-c", program]
        process = await spawn_async(command, env={}, max_line_bytes=100)
        pids = [int(await process.stdout.readline()) for _ in range(2)]
        await end_group(process, 0.1)
        return pids, process.returncode

    pids, returncode = asyncio.run(run())
    assert returncode == status
    assert all(map(is_gone, pids))


def test_a_child_of_a_loop_that_goes_by_itself_leaves_nobody_behind():
    leaves = "import os, sys, time; child = os.fork(); print(child, flush=True); "
    leaves += "sys.stdin.read() if child else time.sleep(60)"

    async def run():
        process = await spawn_async([sys.executable, "-c", leaves], env={}, max_line_bytes=100)
        pids = {int(await process.stdout.readline()) for _ in range(2)} - {0}
        await end_group(process, 5)
        return pids, process.returncode

    pids, returncode = asyncio.run(run())
    assert returncode == 0
    assert all(map(is_gone, pids))


def test_a_child_of_a_loop_is_killed_although_the_wait_for_it_is_cancelled():
    async def run():
        command = [sys.executable, "-c", STUBBORN]
        process = await spawn_async(command, env={}, max_line_bytes=100)
        pids = [int(await process.stdout.readline()) for _ in range(2)]
        ending = asyncio.create_task(end_group(process, 30))
        await asyncio.sleep(0.05)
        ending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await ending
        await process.wait()
        return pids

    assert all(map(is_gone, asyncio.run(run())))


def test_only_named_variables_are_inherited(monkeypatch):
    monkeypatch.setenv("ONE", "1")
    monkeypatch.setenv("TWO", "2")
    monkeypatch.delenv("THREE", raising=False)
    assert inherited_environment(("ONE", "THREE")) == {"ONE": "1"}


def test_memory_is_bounded_and_leaves_no_core_file(monkeypatch):
    resource = pytest.importorskip("resource")
    limits = {}
    monkeypatch.setattr(resource, "setrlimit", lambda what, size: limits.update({what: size}))
    limit_memory(512)
    assert limits == {resource.RLIMIT_AS: (512 << 20,) * 2, resource.RLIMIT_CORE: (0, 0)}
