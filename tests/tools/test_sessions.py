import asyncio

import pytest

from ossia.errors import RequestError
from ossia.tools.sessions import LazyToolkit, open_session, to_prompt
from ossia.tools.tool import ToolResult, ToolSpec


class Echo:
    def __init__(self, name):
        self.spec = ToolSpec(name=name)

    async def call(self, arguments):
        return ToolResult(text=arguments)


class FakeToolkit:
    """A toolkit that keeps a log of what is done with it."""

    def __init__(self, *names, log=None):
        self.specs = tuple(ToolSpec(name=name) for name in names)
        self.log = [] if log is None else log

    async def open(self):
        self.log.append("opened")
        return FakeToolkitSession(self)

    async def close(self):
        self.log.append("toolkit closed")


class FakeToolkitSession:
    def __init__(self, toolkit):
        self._toolkit = toolkit
        self.tools = tuple(Echo(spec.name) for spec in toolkit.specs)

    def needs_approval(self, name, arguments):
        return arguments == "rm"

    def heard(self, text):
        self._toolkit.log.append(f"heard {text}")

    def resolve(self, cursor, line=None):
        return ("corpus://a", "A") if cursor == 1 else None

    async def close(self):
        self._toolkit.log.append("closed")


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def run(work):
    return asyncio.run(work)


def test_functions_tools_and_kits_become_one_session():
    toolkit, log = FakeToolkit("browser.search", "browser.open"), []

    async def test():
        session = await open_session(
            (add, Echo("python"), toolkit, LazyToolkit(lambda: started(log)))
        )
        names = [tool.spec.name for tool in session.tools]
        result = await session.tools[0].call('{"a": 1, "b": 2}')
        await session.close()
        return names, result.text

    names, text = run(test())
    assert sorted(names) == [
        "browser.open", "browser.search", "functions.add", "python", "srv.late",
    ]  # fmt: skip
    assert text == "3"
    assert toolkit.log == ["opened", "closed"]
    assert log == ["opened", "closed", "toolkit closed"]


async def started(log):
    return FakeToolkit("srv.late", log=log)


def test_only_the_session_that_has_a_tool_is_asked_about_it():
    async def test():
        session = await open_session((FakeToolkit("a.x"), Echo("python")))
        return [session.needs_approval(*call) for call in (("a.x", "rm"), ("python", "rm"))]

    assert run(test()) == [True, False]


def test_what_the_user_said_and_citations_go_to_who_wants_them():
    toolkit = FakeToolkit("a.x")

    async def test():
        session = await open_session((Echo("python"), toolkit))
        session.heard("hello")
        return session.resolve(1), session.resolve(2)

    assert run(test()) == (("corpus://a", "A"), None)
    assert "heard hello" in toolkit.log


def test_two_tools_of_one_name_are_refused_and_nothing_stays_open():
    toolkit = FakeToolkit("a.x")

    async def test():
        with pytest.raises(RequestError, match=r"two tools are called a\.x"):
            await open_session((toolkit, Echo("a.x")))

    run(test())
    assert toolkit.log == ["opened", "closed"]


def test_a_kit_that_cannot_be_opened_closes_the_others():
    toolkit = FakeToolkit("a.x")

    async def failing():
        raise RequestError("no sandbox")

    async def test():
        with pytest.raises(RequestError, match="no sandbox"):
            await open_session((toolkit, LazyToolkit(failing)))

    run(test())
    assert toolkit.log == ["opened", "closed"]


def test_tools_are_sorted_by_where_the_prompt_names_them():
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    prompt = to_prompt(
        [
            ToolSpec(name="python", input_format="text"),
            ToolSpec(name="functions.f", description="Does f.", parameters=schema),
            ToolSpec(name="browser.search"),
            ToolSpec(name="browser.open"),
            ToolSpec(name="files.read", parameters=schema),
        ],
        {"files": "Files of this project."},
    )
    assert prompt.builtins == ("browser", "python")
    (function,) = prompt.functions
    assert (function.name, function.description, function.parameters) == ("f", "Does f.", schema)
    (namespace,) = prompt.namespaces
    assert (namespace.name, namespace.description) == ("files", "Files of this project.")
    assert [tool.name for tool in namespace.tools] == ["read"]


def test_without_tools_nothing_is_prompt():
    prompt = to_prompt([])
    assert (prompt.builtins, prompt.functions, prompt.namespaces) == ((), (), ())
