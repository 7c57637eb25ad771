"""Tools by name: ours, then those of packages; what the terminal has to do with it is not here."""

import asyncio
from importlib.metadata import EntryPoint, EntryPoints

import pytest

from ossia.errors import RequestError
from ossia.tools import catalog
from ossia.tools.catalog import (
    ENTRIES,
    Entry,
    choose,
    key_for_callers,
    lazy_toolkits,
    names_for_callers,
)
from ossia.tools.sessions import open_session
from tests.tools.test_sessions import FakeToolkit


def prepare(choice):
    async def start(count_tokens):
        return FakeToolkit(f"functions.{choice.value}")

    return start


PLUGIN = Entry(name="shout", prepare=prepare, value="required", placeholder="WORD")
PYTHON_OF_ANOTHER = Entry(name="python", prepare=prepare)
FOR_CALLERS = Entry(name="open_to_all", prepare=prepare, is_for_callers=True)
NO_ENTRY = "a string"


@pytest.fixture
def installed(monkeypatch):
    """Makes a package of these entry points be installed."""

    def install(**points):
        found = EntryPoints(
            EntryPoint(name, f"{__name__}:{attribute}", catalog.GROUP)
            for name, attribute in points.items()
        )
        monkeypatch.setattr("importlib.metadata.entry_points", found.select)

    return install


def test_a_package_brings_a_tool_that_is_named_like_ours(installed):
    installed(shout="PLUGIN")

    async def run():
        session = await open_session(lazy_toolkits(choose(["shout=loud"]), len).values())
        names = [tool.spec.name for tool in session.tools]
        await session.close()
        return names

    assert asyncio.run(run()) == ["functions.loud"]
    assert key_for_callers("shout=loud") is None


def test_a_package_does_not_replace_a_tool_of_ours(installed):
    installed(python="PYTHON_OF_ANOTHER")
    assert catalog.find("python") is ENTRIES[0]


@pytest.mark.parametrize("attribute", ["NO_ENTRY", "PLUGIN", "missing"])
def test_a_broken_package_is_named(installed, attribute):
    installed(whisper=attribute)
    with pytest.raises(RequestError, match=f"tool whisper of .*:{attribute} is"):
        choose(["whisper"])


@pytest.mark.parametrize("name", ["shout", "shout="])
def test_a_value_that_is_required_cannot_be_left_out(installed, name):
    installed(shout="PLUGIN")
    with pytest.raises(RequestError, match=f"tool shout cannot be named '{name}'; expected shout="):
        choose([name])


def test_callers_never_get_what_changes_the_operators_files():
    assert names_for_callers() == ("python", "browser", "web")
    assert not any(map(key_for_callers, ("patch=.", "mcp=x", "nothing", "")))
    assert key_for_callers("python=landlock") == "python"
    assert key_for_callers("web") == key_for_callers("browser") == "browser"


def test_the_same_name_twice_is_one_toolkit(tmp_path):
    assert list(choose([f"patch={tmp_path}"] * 2)) == [f"patch={tmp_path}"]


def test_a_package_may_let_callers_have_its_tool(installed):
    installed(open_to_all="FOR_CALLERS")
    assert key_for_callers("open_to_all") == "open_to_all"
