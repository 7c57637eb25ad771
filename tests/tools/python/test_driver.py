"""What a cell shows: as a notebook would, and no more."""

import struct
import zlib
from pathlib import Path

import pytest

from ossia.tools.python.sandboxes import InstalledPython
from ossia.tools.python.toolkit import PythonOptions, PythonToolkit
from tests.tools.python.conftest import SMALL


def png():
    """A picture of one pixel."""

    def chunk(kind, content):
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0\0")) + chunk(b"IEND", b"")
    )


def test_variables_imports_and_functions_stay(run):
    run("import math\nx = 20\ndef double(n): return 2 * n\nclass C: pass")
    assert run("double(x) + math.floor(2.5)").text == "42"
    assert run("__name__, C.__module__, _").text == "('__main__', '__main__', 42)"


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        ("1 + 1", "2"),
        ("'a'", "'a'"),
        ("1 + 1;", "(nothing was printed)"),
        ("x = 1", "(nothing was printed)"),
        ("None", "(nothing was printed)"),
        ("", "(nothing was printed)"),
        ("# only a comment", "(nothing was printed)"),
        ("print('a'); 5", "a\n5"),
        ("for i in range(2): print(i)", "0\n1"),
        ("print('é😀')", "é😀"),
        ("await __import__('asyncio').sleep(0, 'slept')", "slept"),
        ("exit()", "SystemExit"),
    ],
)
def test_the_last_expression_is_shown(run, code, shown):
    assert run(code).text == shown.replace("slept", "'slept'")


def test_output_and_errors_come_in_the_order_of_writing(run):
    code = (
        "import sys, os, subprocess\n"
        "print('1', end=' ')\nprint('2', file=sys.stderr, end=' ')\nos.write(1, b'3 ')\n"
        "_ = subprocess.run(['echo', '4'])\nprint('5')"
    )
    assert run(code).text == "1 2 3 4\n5"


def test_a_traceback_begins_at_the_cell_and_shows_its_lines(run):
    run("def f(n):\n    return 1 / n")
    failed = run("x = 1\nf(0)")
    assert failed.is_error
    lines = failed.text.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[1] == '  File "<cell 2>", line 2, in <module>'
    assert lines[2] == "    f(0)"
    assert '  File "<cell 1>", line 2, in f' in lines
    assert lines[-1] == "ZeroDivisionError: division by zero"
    assert "driver" not in failed.text
    assert "\x1b" not in failed.text
    assert run("x").text == "1"


def test_a_syntax_error_points_at_its_place(run):
    text = run("x = (1").text
    assert text.splitlines()[-1].startswith("SyntaxError: '(' was never closed")
    assert 'File "<cell 1>", line 1' in text


def test_a_hostile_exception_is_told_all_the_same(run):
    run("class Bad(Exception):\n    def __str__(self): raise SystemExit(9)")
    assert "Bad" in run("raise Bad").text
    assert run("1").text == "1"


def test_a_replaced_stdout_lasts_one_cell(run):
    assert run("import sys, io\nsys.stdout = io.StringIO()\nprint('hidden')").text == (
        "(nothing was printed)"
    )
    assert run("print('seen')").text == "seen"


def test_new_and_changed_files_are_named_and_given(run):
    made = run("with open('/mnt/data/a.csv', 'w') as f: f.write('1,2')")
    assert made.text == "(nothing was printed)\n[Files written: /mnt/data/a.csv (3 bytes)]"
    (attachment,) = made.attachments
    assert (attachment.name, attachment.media_type, attachment.content) == (
        "a.csv",
        "text/csv",
        b"1,2",
    )
    assert run("open('/mnt/data/a.csv').read()").attachments == ()
    assert [each.content for each in run("open('a.csv', 'a').write(',3')").attachments] == [
        b"1,2,3"
    ]


def test_paths_below_the_drive_work_by_name(run):
    code = (
        "import os, pathlib\n"
        "os.makedirs('/mnt/data/sub', exist_ok=True)\n"
        "pathlib.Path('/mnt/data/sub/b.txt').write_text('x')\n"
        "print(sorted(os.listdir('/mnt/data')), os.path.exists('/mnt/data/sub/b.txt'))"
    )
    written = run(code)
    assert written.text.splitlines()[0] == "['sub'] True"
    assert "[Files written: /mnt/data/sub/b.txt (1 bytes)]" in written.text
    assert written.attachments[0].name == "b.txt"


def test_links_and_pipes_are_no_files_to_give(run):
    code = (
        "import os\nos.symlink('/usr/bin/env', 'link')\nos.symlink('/usr', 'folder')\n"
        "try: os.mkfifo('pipe')\nexcept OSError: pass"
    )
    assert run(code).attachments == ()


def test_large_files_are_named_but_not_given(run):
    code = (
        "for n in range(10): open(f'f{n}', 'wb').write(bytes(10))\n"
        "open('big', 'wb').write(bytes(5 << 20))"
    )
    written = run(code)
    assert "/mnt/data/big (5242880 bytes)" in written.text
    assert [each.name for each in written.attachments] == [f"f{n}" for n in range(8)]


PYPLOT = """
import sys, types
pyplot = types.ModuleType('matplotlib.pyplot')
drawn = [1]
class Figure:
    def savefig(self, path, **_): open(path, 'wb').write({png!r})
pyplot.get_fignums = lambda: drawn
pyplot.figure = lambda number: Figure()
pyplot.close = lambda which: drawn.clear()
sys.modules['matplotlib.pyplot'] = pyplot
"""


def test_what_is_drawn_becomes_a_picture_once(run):
    drawn = run(PYPLOT.format(png=png()))
    (picture,) = drawn.attachments
    assert (picture.name, picture.media_type, picture.content) == (
        "figure-1.png", "image/png", png(),
    )  # fmt: skip
    assert run("1").attachments == ()
    assert "/mnt/data/figure-2.png" in run("drawn.append(1)").text


def test_a_real_plot_is_saved(run):
    if not any(Path(each, "matplotlib").is_dir() for each in InstalledPython.here().packages):
        pytest.skip("matplotlib is not among the installed packages")
    code = "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()"
    (picture,) = run(code).attachments
    assert picture.content.startswith(b"\x89PNG")


def test_numpy_runs_within_the_limits(run):
    if not any(Path(each, "numpy").is_dir() for each in InstalledPython.here().packages):
        pytest.skip("numpy is not among the installed packages")
    assert run(
        "import numpy as np\n(np.ones((300, 300)) @ np.ones((300, 300))).sum().item()"
    ).text == ("27000000.0")


@pytest.mark.parametrize("mode", [0o755, 0o700])
@pytest.mark.parametrize("is_link", [False, True])
def test_packages_below_a_closed_temporary_folder_are_offered(
    sandbox, runner, tmp_path, monkeypatch, mode, is_link
):
    packages = tmp_path / "site-packages"
    (packages / "of_a_test").mkdir(parents=True)
    (packages / "of_a_test" / "__init__.py").write_text("VALUE = 5")
    tmp_path.chmod(mode)
    seen = tmp_path / "link" if is_link else packages
    if is_link:
        seen.symlink_to(packages)
    monkeypatch.setattr("site.getsitepackages", lambda: [str(seen)])

    async def imported():
        toolkit = await PythonToolkit.start(PythonOptions(sandbox=sandbox, limits=SMALL))
        session = await toolkit.open()
        result = await session.call(
            "import of_a_test, sys\nof_a_test.VALUE, any('site-packages' in p for p in sys.path)"
        )
        await toolkit.close()
        return result.text

    assert runner.run(imported()) == "(5, True)"


def test_a_forked_child_that_runs_on_answers_nothing(run):
    assert run("import os\npid = os.fork()\nprint('x')").text.count("x") <= 2
    assert run("1 + 1").text == "2"


def test_a_cell_that_answers_in_the_drivers_place_ends_the_interpreter(run):
    code = (
        "import os, stat\n"
        "for number in range(3, 20):\n"
        "    try:\n"
        "        if stat.S_ISFIFO(os.fstat(number).st_mode):\n"
        "            os.write(number, b'\\x00\\x00\\x00\\x02{}')\n"
        "    except OSError: pass"
    )
    assert run(code).details["code"] in ("breach", "died")
    assert "restarted" in run("1").text


FORGED = """
import json, os, stat, struct, sys
def forge(**claimed):
    frame = sys._getframe()
    while 'cell' not in frame.f_locals: frame = frame.f_back
    for nonce in [frame.f_locals['cell']['nonce']]:
        text = json.dumps({'nonce': nonce, **claimed}).encode()
        for number in range(3, 20):
            try:
                if stat.S_ISFIFO(os.fstat(number).st_mode):
                    os.write(number, struct.pack('>I', len(text)) + text)
            except OSError: pass
"""


@pytest.mark.parametrize(
    "claimed",
    [
        "",
        "finished=True",
        "files=None",
        "files=[1]",
        "files=[{'name': 1, 'size': 1, 'content': None}]",
        "files=[{'name': 'x', 'size': -1, 'content': None}]",
        "files=[{'name': 'x', 'size': 1, 'content': [[]]}]",
        "files=[{'name': 'x', 'size': 1, 'content': None}] * 1000",
    ],
)
def test_a_forged_result_breaks_its_own_interpreter_alone(notebook, claimed):
    one, other = notebook.open(), notebook.open()
    launcher = notebook.toolkit.launcher.pid
    try:
        notebook.run("x = 1", other)
        notebook.run(FORGED, one)
        assert notebook.run(f"forge({claimed})", one).details["code"] == "breach"
        assert notebook.run("x", other).text == "1"
        assert notebook.toolkit.launcher.pid == launcher
        assert "restarted" in notebook.run("1", one).text
    finally:
        for session in (one, other):
            notebook.runner.run(session.close())
