"""A wall is used only if it holds; one with a hole is found out."""

import asyncio
import json
import os
import platform

import pytest

from ossia.errors import RequestError
from ossia.tools.python.seccomp import filter_for
from ossia.tools.python.toolkit import PythonOptions, PythonToolkit, examine
from tests.tools.python.conftest import OPERATORS, SMALL


def report_of(**options):
    return asyncio.run(examine(PythonOptions(limits=SMALL, **options)))


def test_every_probe_is_held_within_a_second(notebook):
    report = notebook.toolkit.report
    assert len(report.probes) == 13
    assert [each.name for each in report.probes if not each.passed] == []
    assert report.passed
    assert report.seconds < 30  # one second on a quiet machine; the benchmark measures it
    assert report.label == {"bubblewrap": "full", "landlock": "reduced"}[report.sandbox]
    found = json.loads(json.dumps(report.to_dict()))
    assert found["tier"] == report.sandbox
    assert found["probes"][0].keys() == {"name", "is_held", "found"}


BARE = ("bwrap", "--dev-bind", "/", "/", "--tmpfs", "/mnt", "--dir", "/mnt/data", "--")
"""A container command that walls nothing in."""


@pytest.mark.judge("sandbox")
@pytest.mark.parametrize("sandbox", ["bubblewrap"], indirect=True)
def test_a_wall_with_holes_is_refused_and_each_hole_named(sandbox):
    assert sandbox == "bubblewrap"
    report = report_of(sandbox="container", container=BARE)
    assert report.sandbox is None
    assert not report.passed
    assert report.label == "unavailable"
    broken = {each.name for each in report.probes if not each.passed}
    assert {"host_file", "host_processes", "tcp", "udp", "writing", "processes"} <= broken
    assert "host_file (" in report.reason
    assert "install bubblewrap" in report.reason


@pytest.mark.judge("sandbox")
@pytest.mark.parametrize("sandbox", ["bubblewrap"], indirect=True)
def test_one_hole_is_enough(sandbox):
    """The operator's own bwrap command, sharing the host's network and nothing else."""
    assert sandbox == "bubblewrap"
    with_network = tuple(each if each != "--unshare-all" else "--unshare-pid" for each in OPERATORS)
    report = report_of(sandbox="container", container=with_network)
    broken = {each.name for each in report.probes if not each.passed}
    assert {"tcp", "udp"} <= broken
    assert "host_file" not in broken
    assert report.sandbox is None


@pytest.mark.judge("sandbox")
@pytest.mark.parametrize("sandbox", ["bubblewrap"], indirect=True)
def test_an_operators_command_that_holds_is_used(sandbox, tmp_path):
    """Ours, spelt out as an operator would: with the filter from a file, and an ordinary user."""
    assert sandbox == "bubblewrap"
    calls = tmp_path / "filter"
    calls.write_bytes(filter_for(platform.machine()))
    user = "setpriv --reuid 61900 --regid 61900 --clear-groups" if os.getuid() == 0 else ""
    walls = " ".join(OPERATORS[:-1]).replace("bwrap", "bwrap --unshare-user --disable-userns")
    limit = f"prlimit --nproc={SMALL.processes}"
    script = f'exec {user} {walls} --seccomp 9 -- {limit} "$@" 9<{calls}'
    options = PythonOptions(sandbox="container", limits=SMALL, container=("sh", "-c", script, "sh"))

    async def talk():
        toolkit = await PythonToolkit.start(options)
        session = await toolkit.open()
        results = [(await session.call(code)).text for code in ("x = 6", "x * 7", "1/0")]
        stopped = await session.call("import os; os._exit(1)")
        again = await session.call("x")
        await toolkit.close()
        return toolkit.report, results, stopped.text, again.text

    report, results, stopped, again = asyncio.run(talk())
    assert report.label == "operator's"
    assert results[:2] == ["(nothing was printed)", "42"]
    assert "ZeroDivisionError" in results[2]
    assert "exit status 1" in stopped
    assert "restarted" in again


def test_a_command_that_does_not_start_is_told():
    report = report_of(sandbox="container", container=("false",))
    assert report.sandbox is None
    assert "container: it does not start" in report.reason


def test_a_command_that_is_not_there_is_told():
    report = report_of(sandbox="container", container=("no-such-program",))
    assert "cannot be started" in report.reason


def test_what_is_missing_is_named():
    report = report_of(sandbox="container")
    assert "container: no container command is set" in report.reason
    assert report.probes == ()


def test_a_toolkit_without_walls_is_not_made():
    with pytest.raises(RequestError, match="cannot be run safely here") as caught:
        asyncio.run(PythonToolkit.start(PythonOptions(sandbox="container", container=("false",))))
    assert caught.value.code == "tool_unavailable"


def test_without_walls_only_by_name():
    async def talk():
        toolkit = await PythonToolkit.start(PythonOptions(sandbox="unsandboxed", limits=SMALL))
        session = await toolkit.open()
        results = await session.call("6 * 7")
        await toolkit.close()
        return toolkit.report.label, results.text

    assert asyncio.run(talk()) == ("NONE", "42")
