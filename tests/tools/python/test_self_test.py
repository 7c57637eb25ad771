"""A wall is used only if it holds; one with a hole is found out."""

import asyncio
import json

import pytest

from ossia.errors import RequestError
from ossia.tools.python.kit import PythonOptions, PythonToolkit, examine
from tests.tools.python.conftest import OPERATORS, SMALL


def report_of(**options):
    return asyncio.run(examine(PythonOptions(limits=SMALL, **options)))


def test_every_probe_is_held_within_a_second(notebook):
    report = notebook.kit.report
    assert len(report.probes) == 13
    assert [each.name for each in report.probes if not each.is_held] == []
    assert report.is_held
    assert report.seconds < 5  # one second on a quiet machine; the benchmark measures it
    assert report.label == {"bubblewrap": "full", "landlock": "reduced"}[report.tier]
    assert json.loads(json.dumps(report.to_dict()))["tier"] == report.tier


def test_a_wall_with_holes_is_refused_and_each_hole_named():
    """A container command that walls nothing in."""
    report = report_of(tier="container", container=("env",))
    assert report.tier is None
    assert not report.is_held
    assert report.label == "unavailable"
    broken = {each.name for each in report.probes if not each.is_held}
    assert {"host_file", "tcp", "udp", "writing"} <= broken
    assert "host_file (" in report.reason
    assert "install bubblewrap" in report.reason


@pytest.mark.parametrize("tier", ["bubblewrap"], indirect=True)
def test_one_hole_is_enough(tier):
    """The operator's own bwrap command, sharing the host's network and nothing else."""
    assert tier == "bubblewrap"
    with_network = tuple(each if each != "--unshare-all" else "--unshare-pid" for each in OPERATORS)
    report = report_of(tier="container", container=with_network)
    broken = {each.name for each in report.probes if not each.is_held}
    assert {"tcp", "udp"} <= broken
    assert "host_file" not in broken
    assert report.tier is None


def test_a_command_that_does_not_start_is_told():
    report = report_of(tier="container", container=("false",))
    assert report.tier is None
    assert "container: it does not start" in report.reason


def test_a_command_that_is_not_there_is_told():
    report = report_of(tier="container", container=("no-such-program",))
    assert "cannot be started" in report.reason


def test_what_is_missing_is_named():
    report = report_of(tier="container")
    assert "container: no container command is set" in report.reason
    assert report.probes == ()


def test_a_toolkit_without_walls_is_not_made():
    with pytest.raises(RequestError, match="cannot be run safely here") as caught:
        asyncio.run(PythonToolkit.start(PythonOptions(tier="container", container=("env",))))
    assert caught.value.code == "tool_unavailable"


def test_without_walls_only_by_name():
    async def talk():
        kit = await PythonToolkit.start(PythonOptions(tier="unsandboxed", limits=SMALL))
        session = await kit.open()
        told = await session.call("6 * 7")
        await kit.close()
        return kit.report.label, told.text

    assert asyncio.run(talk()) == ("NONE", "42")
