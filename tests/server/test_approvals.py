import pytest

from ossia.errors import RequestError
from ossia.harmony.messages import FunctionTool, Namespace
from ossia.server.approvals import asked_for

SERVER = Namespace("post", "", (FunctionTool(name="read"), FunctionTool(name="send")))


def asked(wanted, server=SERVER):
    return asked_for({"require_approval": wanted}, "tools[0]", server)


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
    assert asked(wanted) == tools


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
        asked(wanted)
    assert found.value.param == f"tools[0].require_approval{param}"


def test_a_server_that_cannot_be_asked_has_no_tools_to_ask_for():
    assert asked({"always": names("send")}, Namespace("post", "", ())) == ()
