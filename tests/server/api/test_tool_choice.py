import pytest
from hypothesis import given
from hypothesis import strategies as st

from ossia.errors import RequestError
from ossia.server.api.tool_choice import parse_tool_choice
from ossia.server.api.tools import RequestTools, parse_tools
from ossia.tools.sessions import namespaces_of
from tests.server.api.test_builtin_tools import SPECS


def flat(name):
    return {"type": "function", "name": name, "parameters": {"type": "object"}}


NAMESPACE = {
    "type": "namespace",
    "name": "crm",
    "tools": [flat("find"), {"type": "custom", "name": "note"}],
}


def choice_refused(choice, tools):
    with pytest.raises(RequestError) as found:
        parse_tool_choice(choice, tools)
    return found.value


class TestChoice:
    REQUEST_TOOLS = parse_tools([flat("a"), flat("b"), {"type": "web_search"}], form="responses")

    @pytest.mark.parametrize("choice", ["auto", "none", "required"])
    def test_a_word_is_itself(self, choice):
        assert parse_tool_choice(choice, self.REQUEST_TOOLS) == (choice, None)

    def test_nothing_is_auto(self):
        assert parse_tool_choice(None, RequestTools()) == ("auto", None)

    @pytest.mark.parametrize(
        "choice",
        [
            {"type": "function", "name": "a"},
            {"type": "function", "function": {"name": "a"}},
            {"type": "custom", "custom": {"name": "a"}},
        ],
    )
    def test_a_function_is_named_in_either_form(self, choice):
        assert parse_tool_choice(choice, self.REQUEST_TOOLS) == ("a", None)

    def test_a_function_called_none_can_be_chosen(self):
        tools = parse_tools([flat("none"), flat("f")], form="responses")
        choice = {"type": "function", "name": "none"}
        assert parse_tool_choice(choice, tools) == ("required", ("none",))

    @pytest.mark.parametrize(
        ("choice", "param", "code"),
        [
            ("any", "tool_choice", "invalid_value"),
            (3, "tool_choice", "invalid_value"),
            ({}, "tool_choice.type", "missing_field"),
            ({"type": "function", "name": "c"}, "tool_choice.name", "invalid_value"),
            (
                {"type": "function", "function": {"name": "c"}},
                "tool_choice.function.name",
                "invalid_value",
            ),
            ({"type": "function", "function": 3}, "tool_choice.function", "invalid_value"),
            ({"type": "web_search"}, "tool_choice", "tool_unavailable"),
            ({"type": "mcp", "server_label": "x"}, "tool_choice", "tool_unavailable"),
            ({"type": "allowed_tools"}, "tool_choice.mode", "invalid_value"),
            (
                {"type": "allowed_tools", "mode": "auto", "tools": 3},
                "tool_choice.tools",
                "invalid_value",
            ),
            (
                {"type": "allowed_tools", "mode": "auto", "tools": [{}]},
                "tool_choice.tools[0].type",
                "missing_field",
            ),
            (
                {
                    "type": "allowed_tools",
                    "allowed_tools": {
                        "mode": "auto",
                        "tools": [{"type": "function", "function": {"name": "c"}}],
                    },
                },
                "tool_choice.allowed_tools.tools[0].function.name",
                "invalid_value",
            ),
        ],
    )
    def test_what_cannot_be_chosen_is_refused_by_its_path(self, choice, param, code):
        found = choice_refused(choice, self.REQUEST_TOOLS)
        assert (found.param, found.code) == (param, code)

    def test_a_call_cannot_be_required_without_tools(self):
        assert choice_refused("required", RequestTools()).code == "invalid_value"
        only_builtin = parse_tools([{"type": "web_search"}], form="responses")
        assert choice_refused("required", only_builtin).code == "tool_unavailable"

    def test_the_allowed_are_named_once_each_and_builtins_among_them_skipped(self):
        listed = [{"type": "function", "name": "a"}, {"type": "web_search"}]
        choice = {"type": "allowed_tools", "mode": "required", "tools": [*listed, listed[0]]}
        assert parse_tool_choice(choice, self.REQUEST_TOOLS) == ("required", ("a",))

    def test_a_namespace_allows_all_it_holds(self):
        tools = parse_tools([NAMESPACE, flat("a")], form="responses")
        listed = [{"type": "namespace", "name": "crm"}]
        choice = {"type": "allowed_tools", "mode": "auto", "tools": listed}
        assert parse_tool_choice(choice, tools) == ("auto", ("crm__find", "crm__note"))

    def test_a_call_cannot_be_required_where_nothing_is_allowed(self):
        choice = {"type": "allowed_tools", "mode": "required", "tools": [{"type": "mcp"}]}
        assert choice_refused(choice, self.REQUEST_TOOLS).param == "tool_choice"


class TestChoiceOfWhatRunsHere:
    TOOLS = ({"type": "web_search"}, {"type": "code_interpreter"})
    SERVER = ({"type": "mcp", "server_label": "post"},)
    REQUEST_TOOLS = parse_tools([*TOOLS, *SERVER], form="responses", available=namespaces_of(SPECS))
    BROWSER = ("browser.search", "browser.open", "browser.find")

    @pytest.mark.parametrize(
        ("choice", "means"),
        [
            ({"type": "web_search_preview"}, ("required", BROWSER)),
            ({"type": "code_interpreter"}, ("python", None)),
            ({"type": "mcp", "server_label": "post"}, ("required", ("post.send", "post.list"))),
            ({"type": "mcp", "server_label": "post", "name": "send"}, ("post.send", None)),
        ],
    )
    def test_a_tool_is_forced_by_its_type(self, choice, means):
        assert parse_tool_choice(choice, self.REQUEST_TOOLS) == means

    @pytest.mark.parametrize(
        "choice",
        [
            {"type": "image_generation"},
            {"type": "mcp"},
            {"type": "mcp", "server_label": "post", "name": "burn"},
            {"type": "mcp", "server_label": "dead"},
        ],
    )
    def test_what_is_not_there_is_unavailable(self, choice):
        assert choice_refused(choice, self.REQUEST_TOOLS).code == "tool_unavailable"

    def test_a_tool_that_is_available_but_not_offered_is_not_forced(self):
        tools = parse_tools(self.TOOLS[:1], form="responses", available=namespaces_of(SPECS))
        assert choice_refused({"type": "code_interpreter"}, tools).code == "tool_unavailable"

    def test_a_call_can_be_required_of_them_alone(self):
        assert parse_tool_choice("required", self.REQUEST_TOOLS) == ("required", None)
        dead = parse_tools(self.SERVER, form="responses", available=namespaces_of([], {"post": ""}))
        assert choice_refused("required", dead).param == "tool_choice"

    def test_they_are_allowed_beside_others(self):
        listed = [{"type": "code_interpreter"}, {"type": "mcp", "server_label": "post"}]
        choice = {"type": "allowed_tools", "mode": "auto", "tools": listed}
        allowed = ("python", "post.send", "post.list")
        assert parse_tool_choice(choice, self.REQUEST_TOOLS) == ("auto", allowed)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "type",
                    "name",
                    "function",
                    "custom",
                    "tools",
                    "parameters",
                    "strict",
                    "format",
                    "server_label",
                    "allowed_tools",
                ]
            ),
            inner
            | st.sampled_from(
                [
                    "function",
                    "custom",
                    "namespace",
                    "grammar",
                    "allowed_tools",
                    "mcp",
                    "web_search",
                    "post",
                ]
            ),
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(tools=st.lists(JSON, max_size=4), choice=JSON, form=st.sampled_from(["chat", "responses"]))
def test_no_request_does_worse_than_being_refused(tools, choice, form):
    found = None
    try:
        parse_tool_choice(choice, parse_tools(tools, form=form, available=namespaces_of(SPECS)))
    except RequestError as error:
        found = error
    assert found is None or found.param
