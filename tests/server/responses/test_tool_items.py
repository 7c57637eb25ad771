import pytest

from ossia.chat.events import ArgumentsDelta, PartStarted
from ossia.server.responses.objects import ResponseSettings, ServerTools, tool_kind
from tests.server.responses.test_writer import a_writer, words, write
from tests.server.responses.turns import DEAD, SETTINGS, finished, part, ran
from tests.server.responses.wire_rules import accumulated, check, typed

QUIET = ResponseSettings(model="nano", container_id="cntr_1")
LOGS = [{"type": "logs", "logs": "4"}]
SOURCE = {"type": "url", "url": "https://a.b/x"}
SEARCHED = {"type": "search", "query": "owls", "sources": [SOURCE]}


def call(name, *pieces, whole=True):
    return part("call", *pieces, name=name, whole=whole)


def items(turn, **more):
    """Every item of a turn that is legal to the last event."""
    events, writer = write([*turn, finished()], **more)
    check(events)
    accumulated([typed(event) for event in events])
    return writer.response["output"]


def event_names(turn, **more):
    """The events of a turn's items."""
    events, _ = write([*turn, finished()], **more)
    check(events)
    return words(events[2:-1])


class TestASearch:
    def test_is_announced_when_its_arguments_are_whole(self):
        began, *pieces, called, ended = call("browser.search", '{"query":', ' "owls"}')
        writer = a_writer()
        writer.begin()
        for event in (began, *pieces, called):
            assert writer.push(event) == []
            assert writer.response["output"] == []
        assert words(writer.push(ended)) == [
            "output_item.added",
            "web_search_call.in_progress",
            "web_search_call.searching",
        ]
        assert words(writer.push(ran("browser.search", **SEARCHED))) == [
            "web_search_call.completed",
            "output_item.done",
        ]

    def test_tells_what_it_asks_for_and_then_what_was_done(self):
        turn = [*call("browser.open", '{"id": 3}'), ran("browser.open", type="open_page", url="u")]
        events, _ = write(turn)
        first, last = (event["item"] for event in events if "item" in event)
        assert first["action"] == {"type": "open_page", "url": None}
        assert last["action"] == {"type": "open_page", "url": "u"}
        assert last["status"] == "completed"

    @pytest.mark.parametrize(
        ("name", "arguments", "action"),
        [
            ("search", '{"query": "owls", "topn": 3}', {"type": "search", "query": "owls"}),
            ("search", '{"query": 3}', {"type": "search", "query": ""}),
            ("search", '["owls"]', {"type": "search", "query": ""}),
            ("search", "[" * 5000, {"type": "search", "query": ""}),
            ("open", '{"id": "https://a.b"}', {"type": "open_page", "url": "https://a.b"}),
            ("open", "{}", {"type": "open_page", "url": None}),
            ("find", '{"pattern": "x"}', {"type": "find_in_page", "url": "", "pattern": "x"}),
            ("find", "{", {"type": "find_in_page", "url": "", "pattern": ""}),
        ],
    )
    def test_that_never_ran_has_the_action_of_its_arguments(self, name, arguments, action):
        [item] = items(call(f"browser.{name}", arguments), options=QUIET)
        assert item["action"] == action
        assert item["status"] == "incomplete"

    def test_that_was_cut_is_told_all_the_same(self):
        turn = call("browser.search", '{"qu', whole=False)
        assert event_names(turn) == [
            "output_item.added",
            "web_search_call.in_progress",
            "output_item.done",
        ]
        [item] = items(turn, options=QUIET)
        assert (item["status"], item["action"]["query"]) == ("incomplete", "")

    def test_that_failed_is_failed_and_not_completed(self):
        turn = [*call("browser.find", "{}"), ran("browser.find", fails=True, url=None)]
        assert "web_search_call.completed" not in event_names(turn)
        assert items(turn)[0]["status"] == "failed"

    def test_has_sources_and_results_for_those_who_ask(self):
        turn = [*call("browser.search", "{}"), ran("browser.search", "Owls.", **SEARCHED)]
        [item] = items(turn)
        assert item["action"]["sources"] == [SOURCE]
        assert item["results"] == [{"type": "text", "text": "Owls."}]
        [item] = items(turn, options=QUIET)
        assert item["action"] == {"type": "search", "query": "owls"}
        assert "results" not in item


class TestPython:
    def test_is_told_as_it_is_written_run_and_done(self):
        turn = [*call("python", "2 +", " 2"), ran("python", container_id="cntr_9", outputs=LOGS)]
        assert event_names(turn) == [
            "output_item.added",
            "code_interpreter_call.in_progress",
            "code_interpreter_call_code.delta",
            "code_interpreter_call_code.delta",
            "code_interpreter_call_code.done",
            "code_interpreter_call.interpreting",
            "code_interpreter_call.completed",
            "output_item.done",
        ]
        assert items(turn) == [
            {
                "id": "ci_2",
                "type": "code_interpreter_call",
                "status": "completed",
                "container_id": "cntr_9",
                "code": "2 + 2",
                "outputs": LOGS,
            }
        ]

    def test_has_no_outputs_unless_they_are_asked_for(self):
        turn = [*call("python", "2"), ran("python", outputs=LOGS)]
        [item] = items(turn, options=QUIET)
        assert (item["outputs"], item["container_id"]) == (None, "cntr_1")

    def test_that_failed_or_never_ended_is_no_completed_call(self):
        for turn, status in (
            ([*call("python", "2"), ran("python", fails=True)], "failed"),
            (call("python", "2"), "incomplete"),
            (call("python", "2", whole=False), "incomplete"),
        ):
            assert "code_interpreter_call.completed" not in event_names(turn)
            assert items(turn)[0]["status"] == status

    def test_of_the_callers_own_is_a_function(self):
        options = ResponseSettings(model="nano", kinds={"python": "function"})
        assert items(call("python", "{}"), options=options)[0]["type"] == "function_call"

    def test_an_empty_piece_says_nothing(self):
        assert "code_interpreter_call_code.delta" not in event_names(call("python", ""))


class TestACallOfAServer:
    SENT = (*call("post.send", '{"to"', ":1}"), ran("post.send", "Sent."))

    def test_comes_after_the_list_of_the_servers_tools(self):
        assert event_names(self.SENT) == [
            "output_item.added",
            "mcp_list_tools.in_progress",
            "mcp_list_tools.completed",
            "output_item.done",
            "output_item.added",
            "mcp_call.in_progress",
            "mcp_call_arguments.delta",
            "mcp_call_arguments.done",
            "mcp_call.completed",
            "output_item.done",
        ]
        listed, called = items(self.SENT)
        assert listed == {
            "id": "mcpl_2",
            "type": "mcp_list_tools",
            "server_label": "post",
            "tools": [{"name": "send", "description": "", "input_schema": {}}],
        }
        assert called == {
            "id": "mcp_3",
            "type": "mcp_call",
            "status": "completed",
            "server_label": "post",
            "name": "send",
            "arguments": '{"to":1}',
            "output": "Sent.",
            "error": None,
        }

    def test_is_preceded_by_the_list_only_once(self):
        kinds = [item["type"] for item in items([*self.SENT, *self.SENT])]
        assert kinds == ["mcp_list_tools", "mcp_call", "mcp_call"]

    def test_that_failed_has_an_error_and_no_output(self):
        turn = [*call("post.send", "{}"), ran("post.send", "No such box.", fails=True)]
        assert event_names(turn)[-2:] == ["mcp_call.failed", "output_item.done"]
        item = items(turn)[-1]
        assert (item["status"], item["output"]) == ("failed", None)
        parts = [{"type": "text", "text": "No such box."}]
        assert item["error"] == {"type": "mcp_tool_execution_error", "content": parts}

    def test_that_broke_off_is_incomplete(self):
        for turn in (call("post.send", "{}"), call("post.send", "{", whole=False)):
            item = items(turn)[-1]
            assert (item["status"], item["output"], item["error"]) == ("incomplete", None, None)

    def test_an_empty_piece_says_nothing(self):
        assert "mcp_call_arguments.delta" not in event_names(call("post.send", ""))


def test_a_server_that_cannot_be_asked_is_told_of_once_before_all_else():
    servers = {"dead": DEAD, "post": ServerTools()}
    options = ResponseSettings(model="nano", servers=servers)
    turn = [*part("analysis", "hm"), *part("final", "Hi")]
    assert event_names(turn, options=options)[:4] == [
        "output_item.added",
        "mcp_list_tools.in_progress",
        "mcp_list_tools.failed",
        "output_item.done",
    ]
    first, *others = items(turn, options=options)
    assert (first["server_label"], first["tools"]) == ("dead", [])
    assert first["error"] == "it cannot be reached"
    assert [item["type"] for item in others] == ["reasoning", "message"]


@pytest.mark.parametrize("name", ["browser.search", "python", "post.send"])
@pytest.mark.parametrize("at", range(1, 5))
@pytest.mark.parametrize("end", ["fail", "cancel"])
def test_what_ends_a_response_closes_the_call_that_is_open(name, at, end):
    events, writer = write([*call(name, "{}")[:at]])
    events += writer.fail("server_error", "it broke") if end == "fail" else writer.cancel()
    check(events)
    item = writer.response["output"][-1]
    assert item["status"] == "incomplete"


def test_the_turn_goes_on_behind_a_result():
    turn = [*part("analysis", "hm"), *call("python", "2"), ran("python"), *part("final", "2.")]
    kinds = [item["type"] for item in items(turn)]
    assert kinds == ["reasoning", "code_interpreter_call", "message"]


def test_a_result_of_nobody_says_nothing():
    writer = a_writer()
    writer.begin()
    assert writer.push(ran("python")) == []
    writer.push(PartStarted("final"))
    assert writer.push(ran("python")) == []


def test_pieces_after_a_call_are_nobodys():
    writer = write([*call("python", "2"), ran("python")])[1]
    assert writer.push(ArgumentsDelta("3")) == []


@pytest.mark.parametrize("name", ["browser.search", "python", "post.send"])
def test_pieces_between_a_call_and_its_result_are_nobodys(name):
    begun, ended = call(name, "{}"), [ran(name)]
    assert event_names([*begun, ArgumentsDelta("!"), *ended]) == event_names([*begun, *ended])


def test_a_calls_kind_is_told_by_its_name():
    kinds = {name: tool_kind(name, SETTINGS.kinds) for name in ("look_up", "apply_patch", "x")}
    assert kinds == {"look_up": "function", "apply_patch": "custom", "x": "function"}
    names = ("python", "browser.search", "post.send")
    assert [tool_kind(name, {}) for name in names] == ["python", "browser", "mcp"]
