"""Every attempt to break out, in every tier that this machine has. The numbers: X01 to X27."""

import asyncio
import json
import os
import platform
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ossia.tools.python.sandboxes import InstalledPython
from ossia.tools.python.toolkit import PythonOptions, PythonToolkit
from tests.tools.python.conftest import SMALL

MIB = 1 << 20


def errors_of(run, *attempts):
    """Run each attempt; the errors that they ended with, one a line, or what they returned."""
    lines = ["import os, socket, ctypes, errno", "def tried(attempt):"]
    lines += ["    try: return f'DONE {attempt()!r}'"]
    lines += ["    except OSError as error: return errno.errorcode.get(error.errno, str(error))"]
    lines += [f"print(tried(lambda: {attempt}))" for attempt in attempts]
    answers = run("\n".join(lines)).text.splitlines()
    assert len(answers) == len(attempts), answers
    return answers


def calls(run, *numbers):
    """Errors of bare system calls."""
    code = "import ctypes, errno\nlibc = ctypes.CDLL(None, use_errno=True)\n"
    for number in numbers:
        arguments = ", ".join(map(str, number))
        code += f"print(libc.syscall({arguments}), errno.errorcode.get(ctypes.get_errno()))\n"
    return run(code).text.splitlines()


def test_x01_files_of_the_host_are_not_there(run, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("canary")
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o755)  # its rights are not what shall keep the sandbox out
    wanted = [str(secret), "/etc/passwd", "/etc/shadow", __file__]
    answers = errors_of(run, *(f"open({path!r}).read()" for path in wanted))
    assert set(answers) <= {"ENOENT", "EACCES", "EPERM"}, answers


def test_x01_of_a_home_only_the_way_to_python_is_seen(run):
    way = {part for folder in InstalledPython.here().folders for part in Path(folder).parts}
    code = f"""import os
try: found = os.listdir({str(Path.home())!r})
except OSError: found = []
print(set(found) - {way!r})"""
    assert run(code).text == "set()"


def test_x02_processes_of_the_host_cannot_be_looked_into(run):
    me = os.getpid()
    answers = errors_of(run, f"open('/proc/{me}/environ').read()", f"open('/proc/{me}/mem', 'rb')")
    assert {answer[:4] for answer in answers} <= {"ENOE", "EACC", "EPER"}, answers


def test_x02_nor_does_the_first_process_inside_tell_of_the_host(run):
    code = """import os
found = []
for name in ('environ', 'cwd', 'root', 'exe'):
    path = f'/proc/1/{name}'
    try: found.append(open(path).read() if name == 'environ' else os.listdir(f'{path}/home'))
    except OSError: pass
try: found += [os.readlink(f'/proc/1/fd/{n}') for n in os.listdir('/proc/1/fd')]
except OSError: pass
print([each for each in found if each and 'pipe:' not in each and '/dev/null' not in each
    and 'anon_inode' not in each])"""
    answers = run(code).text
    assert answers == "[]", answers


def test_x03_no_descriptor_is_inherited(run, notebook, tmp_path):
    """Even one that is open and inheritable where the launcher was started."""
    answers = run(
        "import os, stat\n"
        "for number in range(256):\n"
        "    try: mode = os.fstat(number).st_mode\n"
        "    except OSError: continue\n"
        "    print(number, stat.S_IFMT(mode))"
    ).text.splitlines()
    assert {int(line.split()[1]) for line in answers} == {stat.S_IFIFO, stat.S_IFCHR}, answers
    assert len(answers) == 5  # nothing, output twice, cells and results


def test_x04_nothing_is_written_outside(run, tmp_path):
    marker = tmp_path / "marker"
    marker.write_text("untouched")
    marker.chmod(0o666)
    before = marker.stat()
    path = repr(str(marker))
    folder = repr(str(tmp_path))
    answers = errors_of(
        run, f"open({path}, 'a')", f"open({folder} + '/new', 'w')", f"os.chmod({path}, 0o777)",
        f"os.utime({path}, (1, 1))", f"os.truncate({path}, 0)", f"os.remove({path})",
        f"os.rename({path}, {path} + '2')", f"os.setxattr({path}, 'user.x', b'1')",
        f"os.link({path}, '/mnt/data/l')", "open('/usr/lib/x', 'w')", "open('/tmp/../x', 'w')",
        f"os.symlink({path}, 'l') or open('l', 'a')",
    )  # fmt: skip
    assert not [answer for answer in answers if answer.startswith("DONE")], answers
    after = marker.stat()
    assert (after.st_mtime_ns, after.st_mode, marker.read_text()) == (
        before.st_mtime_ns, before.st_mode, "untouched",
    )  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["marker"]


def test_x05_no_tcp(run):
    with socket.create_server(("127.0.0.1", 0)) as ours:
        ours.setblocking(False)
        port = ours.getsockname()[1]
        answers = errors_of(
            run, f"socket.create_connection(('127.0.0.1', {port}), 1)",
            "socket.create_connection(('169.254.169.254', 80), 1)",
            "socket.create_connection(('1.1.1.1', 443), 1)",
        )  # fmt: skip
        with pytest.raises(BlockingIOError):
            ours.accept()
    assert answers == ["EPERM"] * 3


def test_x06_no_udp_and_no_names(run):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours:
        ours.bind(("127.0.0.1", 0))
        ours.setblocking(False)
        port = ours.getsockname()[1]
        answers = errors_of(
            run, f"socket.socket(2, 2).sendto(b'x', ('127.0.0.1', {port}))",
            "socket.socketpair(1, 2)[0].sendto(b'x', '/dev/log')",
        )  # fmt: skip
        with pytest.raises(BlockingIOError):
            ours.recv(10)
    assert answers == ["EPERM"] * 2
    assert "gaierror" in run("import socket; socket.getaddrinfo('example.com', 80)").text


def test_x07_no_raw_netlink_or_vsock(run):
    families = ("17, 3", "2, 3", "16, 3", "40, 1", "1, 1", "10, 1")
    assert errors_of(run, *(f"socket.socket({each})" for each in families)) == ["EPERM"] * 6
    assert errors_of(run, "(lambda pair: pair[0].send(b'x'))(socket.socketpair(1))") == ["DONE 1"]
    assert errors_of(run, "socket.socketpair(30)") == ["EPERM"]


def test_x08_no_port_is_opened_on_loopback(run):
    assert errors_of(run, "socket.create_server(('127.0.0.1', 0))") == ["EPERM"]


BOMB = """
import os, time
made = 0
try:
    while True:
        if os.fork() == 0:
            while True:
                try: os.fork()
                except OSError: time.sleep(0.01)
        made += 1
except OSError: pass
made
"""


def test_x09_a_fork_bomb_is_bounded_and_gone_with_its_cell(run):
    assert run("x = 5").text == "(nothing was printed)"
    bombed = run(BOMB)
    if bombed.details["code"] == "finished":
        assert int(bombed.text.split()[0]) < SMALL.processes * 2
        assert "that the cell left running: ended." in bombed.text
    else:
        assert bombed.details["code"] in ("processes", "memory")
    assert run("import subprocess; subprocess.run(['true']).returncode").text.endswith("0")


def test_x10_endless_work_is_interrupted_and_variables_stay(run):
    run("x = 5")
    stopped = run("while True: pass")
    assert stopped.is_error
    assert stopped.text.endswith("1 seconds of processor time. Variables are kept.]")
    assert run("x").text == "5"


@pytest.mark.slow
def test_x10_work_that_takes_no_interrupt_ends_the_interpreter(run):
    run("x = 5")
    hard = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass"
    assert run(hard).text.endswith("1 seconds of processor time. Variables are lost.]")
    after = run("x").text
    assert after.startswith("The interpreter was restarted; variables are lost.\nTraceback")
    assert "NameError" in after


FILL = """
import os
for folder in ('/mnt/data', os.environ['TMPDIR'], '/dev/shm', '/dev', '/', '/mnt', '/usr'):
    made = 0
    try:
        for number in range(200):
            with open(f'{folder}/fill-{number}', 'wb') as file:
                for _ in range(4): made += file.write(bytes(1 << 20))
    except OSError: pass
    print(made >> 20)
"""


def test_x11_no_mount_can_be_filled_beyond_its_bound(run):
    filled = run(FILL)
    if filled.details["code"] == "finished":
        sizes = [int(line) for line in filled.text.splitlines()[:7]]
        assert sizes[:2] == [16, 16]
        assert sizes[2] <= 16
        assert sizes[3:] == [0, 0, 0, 0]
    else:
        assert filled.details["code"] == "disk"
    assert run("1 + 1").text.endswith("2")


def test_x11_a_file_has_a_largest_size(run):
    big = f"with open('big', 'wb') as file: file.truncate({SMALL.file_bytes + 1})"
    assert "File too large" in run(big).text


@pytest.mark.slow
def test_x12_a_million_files_are_too_many(run):
    many = "for n in range(10**6): open(f'/mnt/data/{n}', 'w').close()"
    assert run(many).details["code"] in ("files", "cpu")
    assert run("1").text.endswith("1")


def test_x13_descriptors_run_out_at_their_limit(run):
    code = "import os\nmade = []\nwhile True: made.append(os.dup(1))"
    assert "Too many open files" in run(code).text
    assert run("for each in made: os.close(each)\nlen(made) < 128").text == "True"


def test_x14_output_is_capped_and_plain(run):
    flood = run("while True: print('y' * 100_000)")
    assert flood.details["code"] == "output"
    assert "bytes left out" in flood.text
    assert len(flood.text) < 70_000
    shown = run(
        r"import os; os.write(1, b'\x1b[31mred\x1b[0m\xff\x00<|call|>\x1b]0;t\x07!\n')"
    ).text
    assert shown == "red\ufffd<|call|>!\n30"  # os.write counts what it wrote


@pytest.mark.parametrize(
    ("code", "how"),
    [
        ("import os; os._exit(3)", "with exit status 3"),
        ("import os; os.abort()", "by signal 6"),
        ("import ctypes; ctypes.string_at(0)", "by signal 11"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "by signal 9"),
    ],
)
def test_x15_an_end_is_told_and_so_is_the_new_beginning(run, code, how):
    run("x = 1")
    ended = run(code)
    assert ended.is_error
    assert how in ended.text
    assert "restarted; variables are lost" in run("1").text
    assert run("2").text == "2"


def processes_named(word):
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if word.encode() in (entry / "cmdline").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def gone(word, seconds=2.0):
    """Whether no process of that name is left, some time later at most."""
    until = time.monotonic() + seconds
    while processes_named(word):
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


DAEMON = """
import os
if os.fork() == 0:
    try: os.setsid()
    except OSError: pass
    if os.fork() == 0: os.execv('/usr/bin/sleep', ['sleep', '{word}'])
    os._exit(0)
import time
time.sleep(0.3)
"""


def test_x16_nothing_outlives_its_cell(run):
    word = "98701.25"
    assert "1 process that the cell left running: ended." in run(DAEMON.format(word=word)).text
    assert gone(word)


SERVER = """
import asyncio, sys
from ossia.tools.python.toolkit import PythonOptions, PythonToolkit
async def main():
    toolkit = await PythonToolkit.start(PythonOptions(sandbox={sandbox!r}))
    session = await toolkit.open()
    print(toolkit.launcher.pid, flush=True)
    await session.call({code!r})
asyncio.run(main())
"""


@pytest.mark.slow
@pytest.mark.parametrize("killed", ["server", "launcher"])
def test_x16_nothing_outlives_a_killed_server_or_launcher(sandbox, killed):
    word = f"9870{2 + (killed == 'server')}.{25 + (sandbox == 'landlock')}"
    code = DAEMON.format(word=word) + "\ntime.sleep(100)"
    script = SERVER.format(sandbox=sandbox, code=code)
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as server:
        launcher = int(server.stdout.readline())
        until = time.monotonic() + 20
        while not processes_named(word) and time.monotonic() < until:
            time.sleep(0.05)
        assert processes_named(word)
        os.kill(server.pid if killed == "server" else launcher, signal.SIGKILL)
        is_gone = gone(word)
        server.kill()
    assert is_gone


def test_x17_a_thread_stands_still_when_its_cell_is_over(run):
    run(
        "import threading, time\nn = 0\ndef count():\n    global n\n"
        "    while True: n += 1; time.sleep(0.001)\n"
        "threading.Thread(target=count, daemon=True).start()"
    )
    first = int(run("n").text)
    time.sleep(0.5)
    assert int(run("n").text) - first < 250


def test_x18_no_namespace_mount_or_root_of_its_own(run):
    answers = errors_of(
        run, "(_ for _ in ()).throw(OSError(ctypes.CDLL(None, use_errno=True).unshare(0x10000000) and ctypes.get_errno(), ''))",  # noqa: E501
        "os.chroot('/tmp')",
    )  # fmt: skip
    assert answers == ["EPERM", "EPERM"]
    x86 = platform.machine() == "x86_64"
    mount, umount, pivot, clone, clone3 = (
        (165, 166, 155, 56, 435) if x86 else (40, 39, 41, 220, 435)
    )
    answers = calls(
        run, (mount, "b'none'", "b'/tmp'", "b'tmpfs'", 0, 0), (umount, "b'/tmp'", 0),
        (pivot, "b'/'", "b'/'"), (clone, 0x10000011, 0, 0, 0, 0), (clone, 0x20011, 0, 0, 0, 0),
        (clone3, 0, 0),
    )  # fmt: skip
    assert answers == ["-1 EPERM"] * 5 + ["-1 ENOSYS"]


def test_x19_no_io_uring_bpf_perf_ptrace_or_keys(run):
    x86 = platform.machine() == "x86_64"
    bpf, perf, ptrace, keyctl, userfault, memfd = (
        (321, 298, 101, 250, 323, 319) if x86 else (280, 241, 117, 219, 282, 279)
    )
    numbers = [(425, 1, 0), (bpf, 0, 0, 0), (perf, 0, 0, -1, -1, 0), (ptrace, 0, 0, 0, 0)]
    numbers += [(keyctl, 0, 0), (userfault, 0), (memfd, "b'x'", 0)]
    assert calls(run, *numbers) == ["-1 EPERM"] * 7


@pytest.mark.skipif(platform.machine() != "x86_64", reason="calls of another kind, of x86-64 alone")
def test_x20_calls_of_another_kind_kill(run):
    assert "by signal 31" in run("import ctypes; ctypes.CDLL(None).syscall(0x40000000 | 39)").text
    code = "b'\\xb8\\x14\\x00\\x00\\x00\\xcd\\x80\\xc3'"  # mov eax, getpid; int 0x80; ret
    call = (
        f"import ctypes, mmap\nm = mmap.mmap(-1, 4096, prot=7)\nm.write({code})\n"
        "ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))()"
    )
    ended = run(call)
    assert ended.details["code"] == "died"
    assert "by signal 31" in ended.text


def test_x21_nothing_is_typed_for_the_user(run):
    answers = errors_of(
        run, "__import__('fcntl').ioctl(0, 0x5412, b'x')", "__import__('fcntl').fcntl(0, 8, 1)"
    )
    assert answers == ["EPERM", "EPERM"]


def test_x22_packages_are_read_only_and_their_hooks_unused(run):
    code = (
        "import sys, os\n"
        "places = [p for p in sys.path if 'packages' in p]\n"
        "for place in places:\n"
        "    for name in ('evil.pth', 'sitecustomize.py'):\n"
        "        try: open(os.path.join(place, name), 'w'); print('written')\n"
        "        except OSError: pass\n"
        "print(len(places) > 0, 'site' in sys.modules, 'sitecustomize' in sys.modules)"
    )
    assert run(code).text == "True False False"


def test_x23_another_conversation_is_out_of_reach(notebook):
    one, other = notebook.open(), notebook.open()
    try:
        assert one.id != other.id
        notebook.run("x = 'canary'; open('/mnt/data/secret', 'w').write(x)", one)
        where = notebook.run("import os; os.getcwd()", one).text.strip("'")
        assert "NameError" in notebook.run("x", other).text
        assert notebook.run("import os; os.listdir('/mnt/data')", other).text == "[]"
        if where != "/mnt/data":  # a folder of the host: what lies around it is closed
            for folder in (os.path.dirname(where), os.path.dirname(os.path.dirname(where))):
                assert "PermissionError" in notebook.run(f"os.listdir({folder!r})", other).text
        peek = notebook.run(f"open({where!r} + '/secret').read()", other).text
        assert "canary" not in peek
        assert notebook.run("x", one).text == "'canary'"
    finally:
        for session in (one, other):
            notebook.runner.run(session.close())


@pytest.mark.parametrize(
    "code",
    [
        "def f(): return f()\nf()",
        "import sys; sys.setrecursionlimit(10**8)\ndef f(x): return f([x])\nf(1)",
        "x = 10 ** (10 ** 8); str(x)",
        "import re; re.match('(a+)+$', 'a' * 64 + 'b')",
        "x = [bytes(10_000_000) for _ in range(1000)]",
        "bytes(10 ** 10)",
    ],
)
def test_x24_heavy_words_end_and_the_next_cell_runs(run, code):
    began = time.monotonic()
    assert run(code).is_error
    assert time.monotonic() - began < SMALL.wall_seconds + 3
    assert run("1 + 1").text.endswith("2")


@pytest.mark.slow
def test_x25_the_event_loop_goes_on_meanwhile(notebook):
    """The loop, alone: what streams share with the processor is measured in the benchmark."""

    async def attack():
        session = await notebook.toolkit.open()
        longest = 0.0

        async def canary():
            nonlocal longest
            while True:
                before = time.monotonic()
                await asyncio.sleep(0.01)
                longest = max(longest, time.monotonic() - before)

        watching = asyncio.create_task(canary())
        for code in ("while True: print('y' * 100_000)", "bytes(10**10)", BOMB, "while True: pass"):
            await session.call(code)
        watching.cancel()
        await session.close()
        return longest

    assert notebook.runner.run(attack()) < 0.5


def test_x26_a_hundred_interpreters_at_once_are_not_had(sandbox):
    async def crowd():
        toolkit = await PythonToolkit.start(PythonOptions(sandbox=sandbox, limits=SMALL))
        sessions = [await toolkit.open() for _ in range(100)]
        answers = await asyncio.gather(*(session.call("1 + 1") for session in sessions))
        has_room = toolkit.has_room
        await toolkit.close()
        return [each.details["code"] for each in answers], has_room

    ended, has_room = asyncio.run(crowd())
    assert (ended.count("finished"), ended.count("busy"), has_room) == (8, 92, False)


def test_x27_no_list_of_allowed_hosts_means_none(run, notebook):
    """There is no list: the call that makes a socket is refused, whatever the address."""
    assert json.dumps(notebook.toolkit.report.to_dict())
    passed = {each.name: each.passed for each in notebook.toolkit.report.probes}
    assert passed["tcp"]
    assert passed["udp"]
    assert errors_of(run, "socket.socket()") == ["EPERM"]


def test_signals_do_not_reach_the_host(run, notebook):
    reached = errors_of(
        run, f"os.kill({os.getpid()}, 0)", f"os.kill({notebook.toolkit.launcher.pid}, 0)"
    )
    assert {answer for answer in reached} <= {"EPERM", "ESRCH"}


def test_other_processes_cannot_be_starved(run):
    answers = errors_of(
        run, f"__import__('resource').prlimit({os.getpid()}, 0, (1, 1))",
        f"os.sched_setaffinity({os.getpid()}, [0])", f"os.setpriority(0, {os.getpid()}, 19)",
    )  # fmt: skip
    assert answers == ["EPERM"] * 3


def test_limits_cannot_be_raised(run):
    code = (
        "import resource as r\n"
        "for name in ('AS', 'NPROC', 'NOFILE', 'FSIZE', 'CPU', 'CORE'):\n"
        "    each = getattr(r, f'RLIMIT_{name}')\n"
        "    soft, hard = r.getrlimit(each)\n"
        "    assert soft == hard != r.RLIM_INFINITY\n"
        "    try: r.setrlimit(each, (hard + 1, hard + 1)); print('raised')\n"
        "    except (ValueError, OSError): pass"
    )
    assert run(code).text == "(nothing was printed)"


def test_what_cells_run_goes_first_when_memory_is_short_and_stays_so(run):
    answers = errors_of(
        run,
        "open('/proc/self/oom_score_adj', 'w').write('0')",
        "open('/proc/self/autogroup', 'w').write('0')",
        "os.nice(-1)",
    )
    assert not [each for each in answers if each.startswith("DONE")], answers


def test_unless_told_otherwise_cells_stand_back_behind_the_engine(sandbox):
    word = f"98711.{25 + (sandbox == 'landlock')}"

    async def look():
        toolkit = await PythonToolkit.start(PythonOptions(sandbox=sandbox))
        session = await toolkit.open()
        running = asyncio.create_task(session.call(f"import os; os.system('sleep {word}')"))
        while not (found := processes_named(word)):
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.7)
        niceness = os.getpriority(os.PRIO_PROCESS, found[0])
        files = [Path(f"/proc/{found[0]}/{name}") for name in ("oom_score_adj", "autogroup")]
        answers = [each.read_text().split()[-1] for each in files if each.exists()]
        await toolkit.close()
        await running
        return niceness, answers

    niceness, answers = asyncio.run(look())
    assert gone(word)
    assert niceness == min(os.getpriority(os.PRIO_PROCESS, 0) + 10, 19)
    assert answers in (["1000", "10"], ["1000"])
