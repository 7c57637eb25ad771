import pytest

from ossia.errors import RequestError
from ossia.harmony.messages import FunctionTool, Namespace
from ossia.harmony.prompt_text import BROWSER, PYTHON
from ossia.server.api.builtin_tools import required_approvals
from ossia.server.api.tools import parse_tools
from ossia.tools.sessions import namespaces_of
from ossia.tools.tool import ToolSpec

SCHEMA = {"type": "object", "properties": {"to": {"type": "string"}}}
SPECS = (
    ToolSpec(name="browser.search", channel="analysis"),
    ToolSpec(name="browser.open", channel="analysis"),
    ToolSpec(name="python", input_format="text", channel="analysis"),
    ToolSpec(name="post.send", description="Sends.", parameters=SCHEMA),
    ToolSpec(name="post.list"),
)


def parsed(*tools, descriptions=None):
    return parse_tools(tools, form="responses", available=namespaces_of(SPECS, descriptions or {}))


def post(**more):
    return {"type": "mcp", "server_label": "post", **more}


def refused(tool):
    with pytest.raises(RequestError) as found:
        parsed(tool)
    return found.value


def test_tools_are_available_in_their_groups():
    groups = namespaces_of(SPECS, {"post": "Mail.", "dead": ""})
    assert (groups["browser"], groups["python"]) == (BROWSER, PYTHON)
    assert groups["post"].description == "Mail."
    assert [tool.name for tool in groups["post"].tools] == ["send", "list"]
    assert groups["post"].tools[0].parameters == SCHEMA
    assert groups["dead"].tools == ()
    assert namespaces_of(()) == {}


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        ("web_search", "browser"),
        ("web_search_2025_08_26", "browser"),
        ("web_search_preview", "browser"),
        ("browser_search", "browser"),
        ("code_interpreter", "python"),
    ],
)
def test_a_builtin_is_offered_under_each_of_its_names(kind, builtin):
    found = parsed({"type": kind}, {"type": kind})
    assert (found.builtins, found.ignored) == ((builtin,), ())
    assert found.runs_here
    assert found.can_be_called


def test_a_server_is_picked_by_its_label():
    found = parsed(post())
    assert [tool.name for tool in found.servers[0].tools] == ["send", "list"]
    assert found.callable_servers == found.servers
    assert found.runs_here


@pytest.mark.parametrize("allowed", [["send", "burn"], {"tool_names": ["send"], "read_only": True}])
def test_a_request_may_narrow_a_servers_tools(allowed):
    found = parsed(post(allowed_tools=allowed))
    assert [tool.name for tool in found.servers[0].tools] == ["send"]


@pytest.mark.parametrize(
    "tool",
    [
        {"type": "mcp", "server_label": "other"},
        {"type": "mcp", "server_label": "browser"},
        {"type": "mcp", "server_label": 3},
        {"type": "mcp"},
        post(allowed_tools=["burn"]),
        {"type": "image_generation"},
    ],
)
def test_what_is_not_there_is_skipped_and_named(tool):
    found = parsed(tool)
    assert (found.ignored, found.runs_here) == (("tools[0]",), False)


def test_a_server_that_cannot_be_asked_is_offered_to_be_told_of_but_not_to_the_model():
    found = parsed({"type": "mcp", "server_label": "dead"}, descriptions={"dead": ""})
    assert [server.name for server in found.servers] == ["dead"]
    assert found.callable_servers == ()
    assert not found.can_be_called


@pytest.mark.parametrize(
    ("tool", "param"),
    [
        (post(server_url="https://evil.example/mcp"), "tools[0].server_url"),
        (post(allowed_tools="send"), "tools[0].allowed_tools"),
        (post(allowed_tools={"tool_names": [3]}), "tools[0].allowed_tools.tool_names"),
        (post(allowed_tools={"read_only": True}), "tools[0].allowed_tools.read_only"),
    ],
)
def test_what_a_request_may_not_say_of_a_server_is_refused(tool, param):
    assert refused(tool).param == param


def test_a_server_may_stand_once():
    with pytest.raises(RequestError) as found:
        parsed(post(), post())
    assert found.value.param == "tools[1].server_label"


SERVER = Namespace("post", "", (FunctionTool(name="read"), FunctionTool(name="send")))


def approvals_of(wanted, server=SERVER):
    return required_approvals({"require_approval": wanted}, "tools[0]", server)


def names(*tools):
    return {"tool_names": list(tools)}


@pytest.mark.parametrize(
    ("wanted", "tools"),
    [
        (None, ()),
        ("never", ()),
        ("always", ("post.read", "post.send")),
        ({}, ()),
        ({"always": names("send")}, ("post.send",)),
        ({"never": names("read")}, ("post.send",)),
        ({"never": names("read", "other")}, ("post.send",)),
        ({"never": names("read"), "always": names("read")}, ("post.read", "post.send")),
        ({"never": names("read", "send"), "always": None}, ()),
    ],
)
def test_what_a_request_wants_to_be_asked_for(wanted, tools):
    assert approvals_of(wanted) == tools


@pytest.mark.parametrize(
    ("wanted", "param"),
    [
        ("sometimes", ""),
        ([], ""),
        ({"always": ["send"]}, ".always.tool_names"),
        ({"always": {"read_only": True}}, ".always.tool_names"),
        ({"never": {"tool_names": [1]}}, ".never.tool_names"),
        ({"always": names("sned")}, ".always.tool_names"),
    ],
)
def test_what_cannot_be_honoured_is_refused(wanted, param):
    with pytest.raises(RequestError) as found:
        approvals_of(wanted)
    assert found.value.param == f"tools[0].require_approval{param}"


def test_a_server_that_cannot_be_asked_has_no_tools_to_ask_for():
    assert approvals_of({"always": names("send")}, Namespace("post", "", ())) == ()
