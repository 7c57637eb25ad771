import pytest

from ossia.errors import RequestError
from ossia.server.responses.approvals import MAX_REASON, find_approval


def request(item_id="mcpr_1", kind="mcp_approval_request"):
    return {"type": kind, "id": item_id, "server_label": "post", "name": "send", "arguments": "{}"}


def response(request_id="mcpr_1", allows=True, **more):
    return {
        "type": "mcp_approval_response",
        "approval_request_id": request_id,
        "approve": allows,
        **more,
    }


def ran(request_id="mcpr_1"):
    return {"type": "mcp_call", "approval_request_id": request_id}


def refused(*items, waiting_id=None):
    with pytest.raises(RequestError) as found:
        find_approval(items, waiting_id)
    return found.value


def test_nothing_asked_nothing_answered():
    assert find_approval([{"role": "user", "content": "Hi"}], None) is None


@pytest.mark.parametrize(
    ("items", "waiting_id"),
    [
        ([response(reason="why")], "mcpr_1"),
        ([request(), response(reason="why")], None),
        ([request(), response(reason="why")], "mcpr_1"),
        ([response(reason="why"), request()], None),
        ([request(kind="item_reference"), response(reason="why")], None),
        ([request("mcpr_0"), response("mcpr_0"), ran("mcpr_0"), response(reason="why")], "mcpr_1"),
    ],
)
def test_an_answer_belongs_to_its_request(items, waiting_id):
    found = find_approval(items, waiting_id)
    assert (found.request_id, found.allows, found.reason) == ("mcpr_1", True, "why")
    assert found.path.endswith(".approval_request_id")


def test_a_no_needs_no_reason():
    found = find_approval([response(allows=False, reason=None)], "mcpr_1")
    assert (found.allows, found.reason) == (False, "")


def test_what_was_run_already_is_history():
    assert find_approval([request(), response(), ran()], None) is None


def test_what_a_client_says_was_run_does_not_answer_for_the_last_response():
    assert refused(ran(), waiting_id="mcpr_1").param == "input"


@pytest.mark.parametrize(
    ("items", "waiting_id", "param"),
    [
        ([], "mcpr_1", "input"),
        ([request()], None, "input[0]"),
        ([request(kind="item_reference")], None, "input[0]"),
        ([response()], None, "input[0].approval_request_id"),
        ([response("mcpr_2")], "mcpr_1", "input[0].approval_request_id"),
        ([response(), response()], "mcpr_1", "input[1]"),
        ([request("mcpr_2"), response("mcpr_2"), response()], "mcpr_1", "input"),
        ([response(allows="yes")], "mcpr_1", "input[0].approve"),
        ([response(reason=3)], "mcpr_1", "input[0].reason"),
        ([response(reason="x" * (MAX_REASON + 1))], "mcpr_1", "input[0].reason"),
        ([response(None)], "mcpr_1", "input[0].approval_request_id"),
        ([response(["mcpr_1"])], "mcpr_1", "input[0].approval_request_id"),
    ],
)
def test_what_does_not_fit_together_is_refused(items, waiting_id, param):
    assert refused(*items, waiting_id=waiting_id).param == param


@pytest.mark.parametrize("item_id", [None, 3, ["mcpr_1"]])
def test_a_request_without_an_id_is_nobodys(item_id):
    assert find_approval([request(item_id)], None) is None
