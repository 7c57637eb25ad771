"""Each tier that this machine has, and a conversation in it."""

import asyncio
from dataclasses import dataclass

import pytest

from ossia.errors import RequestError
from ossia.tools.python.launcher_client import LauncherClient, LauncherGone
from ossia.tools.python.sandboxes import MIB, InstalledPython, Limits, why_not
from ossia.tools.python.toolkit import PythonOptions, PythonToolkit

SMALL = Limits(
    wall_seconds=20,
    cpu_seconds=1,
    rss_bytes=256 * MIB,
    processes=24,
    file_bytes=8 * MIB,
    data_bytes=16 * MIB,
    temporary_bytes=16 * MIB,
    files=3000,
    grace_seconds=0.5,
    niceness=0,  # tests wait for them
)
OPERATORS = tuple(
    each
    for line in (
        "bwrap --unshare-all --die-with-parent --new-session --cap-drop ALL --clearenv",
        "--ro-bind /usr /usr --symlink usr/lib /lib --symlink usr/lib64 /lib64",
        "--symlink usr/bin /bin --proc /proc --dev /dev --size 16777216 --tmpfs /dev/shm",
        "--remount-ro /dev --size 16777216 --tmpfs /mnt/data --remount-ro /",
        "--setenv PATH /usr/bin --chdir /mnt/data --",
    )
    for each in line.split()
)
"""What an operator might set as a container's command, where there is no docker."""


@dataclass(frozen=True)
class Notebook:
    """A conversation, called as if it were not asynchronous."""

    runner: asyncio.Runner
    toolkit: PythonToolkit

    def open(self):
        return self.runner.run(self.toolkit.open())

    def run(self, code, session):
        return self.runner.run(session.call(code))


async def _why_not(sandbox):
    """Why a tier cannot even start here; what its self-test finds is no reason to skip."""
    reason = why_not(sandbox, ())
    if reason is not None:
        return reason
    try:
        launcher = await LauncherClient.start(sandbox, InstalledPython.here(), SMALL, ())
    except LauncherGone as error:
        return str(error)
    try:
        answer = await launcher.ask("try", {"do": "open"})
        return None if answer["was"] == "opened" else answer["text"]
    finally:
        await launcher.close()


BUBBLEWRAP = pytest.param("bubblewrap", marks=pytest.mark.judge("sandbox"))


@pytest.fixture(scope="session", params=[BUBBLEWRAP, "landlock"])
def sandbox(request):
    """Each tier in turn; Landlock needs its kernel, a judge has installed the other's program."""
    reason = asyncio.run(_why_not(request.param))
    if reason is not None and request.param == "landlock":
        pytest.skip(f"{request.param}: {reason}")
    assert reason is None
    return request.param


@pytest.fixture(scope="session")
def notebook(sandbox):
    """A toolkit of the tier, with small limits."""
    with asyncio.Runner() as runner:
        toolkit = runner.run(PythonToolkit.start(PythonOptions(sandbox=sandbox, limits=SMALL)))
        yield Notebook(runner, toolkit)
        runner.run(toolkit.close())


@pytest.fixture
def run(notebook):
    """Run a cell in a conversation of this test's own."""
    session = notebook.open()
    yield lambda code: notebook.run(code, session)
    notebook.runner.run(session.close())


@pytest.fixture
def runner():
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="session")
def best_sandbox():
    """The name of whichever tier is offered here."""

    async def find():
        toolkit = await PythonToolkit.start()
        await toolkit.close()
        return toolkit.report.sandbox

    try:
        return asyncio.run(find())
    except RequestError as error:
        pytest.skip(str(error))
