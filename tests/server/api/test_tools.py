import pytest

from ossia.errors import RequestError
from ossia.server.api.errors import Forbidden
from ossia.server.api.tools import RequestTools, joined, parse_tools, require_scope
from ossia.tools.sessions import namespaces_of
from ossia.tools.tool import ToolSpec

PYTHON = ToolSpec(name="python", input_format="text", channel="analysis")
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def flat(name="get_weather", **more):
    return {"type": "function", "name": name, "parameters": SCHEMA, **more}


def nested(name="get_weather", **more):
    return {"type": "function", "function": {"name": name, "parameters": SCHEMA, **more}}


def refused(tools, form="responses", **more):
    with pytest.raises(RequestError) as found:
        parse_tools(tools, form=form, **more)
    return found.value


@pytest.mark.parametrize("form", ["chat", "responses"])
@pytest.mark.parametrize("tools", [None, []])
def test_no_tools_are_no_tools(form, tools):
    assert parse_tools(tools, form=form) == RequestTools()


def test_both_forms_mean_the_same_function():
    flat_one = parse_tools([flat(strict=True, description="d")], form="responses")
    nested_one = parse_tools([nested(strict=True, description="d")], form="chat")
    assert flat_one.functions == nested_one.functions
    (tool,) = flat_one.functions
    assert (tool.name, tool.description, tool.strict) == ("get_weather", "d", True)
    assert tool.parameters == SCHEMA
    assert flat_one.kinds == {"get_weather": "function"}


def test_each_form_names_schemas_by_its_own_path():
    many = [flat("a"), flat("b")]
    assert parse_tools(many, form="responses").schema_paths["b"] == "tools[1].parameters"
    paths = parse_tools([nested("a")], form="chat").schema_paths
    assert paths == {"a": "tools[0].function.parameters"}


@pytest.mark.parametrize("form", ["chat", "responses"])
def test_small_schemas_that_unfold_to_too_much_together_are_refused_soon(form):
    leaves = {"type": "object", "properties": {f"p{n}": {} for n in range(90)}}
    props = {f"q{n}": {"$ref": "#/$defs/leaves"} for n in range(90)}
    schema = {"type": "object", "properties": props, "$defs": {"leaves": leaves}}
    make = nested if form == "chat" else flat
    few = [make(f"f{n}", parameters=schema) for n in range(2)]
    assert sum(one.num_parts for one in parse_tools(few, form=form).functions) in range(
        16_562, 17_000
    )
    never_read = [make(f"g{n}", parameters={"type": "string"}) for n in range(10)]
    error = refused([*few, make("h", parameters=schema), *never_read], form)
    assert (error.param, error.code) == ("tools", "invalid_json_schema")
    assert "more than 20000 parts together" in str(error)


def test_optional_fields_may_be_null():
    tool = {"type": "function", "name": "f", "parameters": None, "strict": None}
    (found,) = parse_tools([{**tool, "description": None}], form="responses").functions
    assert (found.parameters, found.strict, found.description) == (None, False, "")


@pytest.mark.parametrize(
    "kind",
    ["web_search", "web_search_preview", "code_interpreter", "mcp", "image_generation", "of_2031"],
)
def test_types_not_at_hand_are_skipped_and_named(kind):
    found = parse_tools([{"type": kind}, flat()], form="responses")
    assert found.ignored == ("tools[0]",)
    assert [tool.name for tool in found.functions] == ["get_weather"]


def test_chat_completions_has_no_namespaces():
    assert parse_tools([{"type": "namespace"}], form="chat").ignored == ("tools[0]",)


class TestCustomTools:
    def test_take_plain_text(self):
        tool = {"type": "custom", "name": "shell", "description": "d", "format": {"type": "text"}}
        found = parse_tools([tool], form="responses")
        assert found.functions[0].input_format == "text"
        assert found.kinds == {"shell": "custom"}
        assert found.schema_paths == {}
        assert found.ignored == ()

    @pytest.mark.parametrize("description", [None, "Patches files."])
    def test_are_held_to_their_grammar_and_tell_the_model_of_it(self, description):
        form = {"type": "grammar", "syntax": "lark", "definition": "start: /x+/"}
        tool = {"type": "custom", "name": "patch", "format": form, "description": description}
        found = parse_tools([tool], form="responses")
        assert found.functions[0].description.endswith("lark grammar:\nstart: /x+/")
        assert found.functions[0].description.startswith(description or "The input")
        assert found.functions[0].grammar == ("lark", "start: /x+/")
        assert found.schema_paths == {"patch": "tools[0].format.definition"}
        assert found.ignored == ()

    def test_stand_in_an_object_of_their_own_in_chat_completions(self):
        grammar = {"syntax": "regex", "definition": "a+"}
        custom = {"name": "patch", "format": {"type": "grammar", "grammar": grammar}}
        found = parse_tools([{"type": "custom", "custom": custom}], form="chat")
        assert found.kinds == {"patch": "custom"}
        assert found.functions[0].grammar == ("regex", "a+")
        assert found.schema_paths == {"patch": "tools[0].custom.format.grammar.definition"}
        assert found.ignored == ()

    @pytest.mark.parametrize(
        ("form", "param"),
        [
            ("text", "tools[0].format"),
            ({}, "tools[0].format.type"),
            ({"type": "xml"}, "tools[0].format.type"),
            ({"type": "grammar", "syntax": "bnf"}, "tools[0].format.syntax"),
            ({"type": "grammar", "syntax": "regex"}, "tools[0].format.definition"),
            (
                {"type": "grammar", "syntax": "lark", "definition": "x" * 8193},
                "tools[0].format.definition",
            ),
        ],
    )
    def test_refuse_a_format_that_is_none(self, form, param):
        assert refused([{"type": "custom", "name": "p", "format": form}]).param == param


class TestNamespaces:
    TOOL = {
        "type": "namespace",
        "name": "crm",
        "description": "d",
        "tools": [flat("find"), {"type": "custom", "name": "note"}, {"type": "mcp"}],
    }

    def test_prefix_what_they_hold(self):
        found = parse_tools([self.TOOL], form="responses")
        assert found.kinds == {"crm__find": "function", "crm__note": "custom"}
        assert found.namespaces["crm__find"] == ("crm", "find")
        assert found.schema_paths == {"crm__find": "tools[0].tools[0].parameters"}
        assert found.ignored == ("tools[0].tools[2]",)

    def test_are_found_by_either_name(self):
        found = parse_tools([self.TOOL, {**self.TOOL, "name": "hr"}], form="responses")
        assert found.named("crm__find") == "crm__find"
        assert found.named("find", "crm") == "crm__find"
        assert found.named("find") is None  # there are two
        assert found.named("find", "sales") is None
        assert found.named(3) is None

    def test_join_once_where_they_end_in_two_underscores(self):
        assert joined("mcp__files__", "read") == "mcp__files__read"

    def test_join_to_a_lawful_name_however_long_they_are(self):
        one, other = joined("n" * 60, "a" * 60), joined("n" * 60, "b" * 60)
        assert one != other
        assert len(one) == len(other) == 64

    @pytest.mark.parametrize("inner", [None, {}, [flat(f"f{i}") for i in range(129)]])
    def test_refuse_what_is_no_list_of_tools(self, inner):
        assert refused([{**self.TOOL, "tools": inner}]).param == "tools[0].tools"

    def test_refuse_a_bad_function_by_its_place(self):
        found = refused([{**self.TOOL, "tools": [flat("a b")]}])
        assert found.param == "tools[0].tools[0].name"

    def test_count_with_the_others(self):
        inner = {**self.TOOL, "tools": [flat(f"f{i}") for i in range(128)]}
        assert refused([inner, flat()]).param == "tools"


@pytest.mark.parametrize(
    ("tool", "param", "code"),
    [
        (None, "tools[0]", "missing_field"),
        ("f", "tools[0]", "invalid_value"),
        ({}, "tools[0].type", "missing_field"),
        ({"type": 3}, "tools[0].type", "invalid_value"),
        ({"type": "function"}, "tools[0].name", "missing_field"),
        (nested(), "tools[0].name", "missing_field"),
        (flat("functions.f"), "tools[0].name", "invalid_value"),
        (flat("f to=functions.g"), "tools[0].name", "invalid_value"),
        (flat("x" * 65), "tools[0].name", "invalid_value"),
        (flat("system"), "tools[0].name", "invalid_value"),
        (flat("assistant"), "tools[0].name", "invalid_value"),
        (flat(parameters=[1]), "tools[0].parameters", "invalid_value"),
        (flat(parameters={"type": "string"}), "tools[0].parameters", "invalid_json_schema"),
        (flat(parameters={"$ref": "#"}), "tools[0].parameters", "invalid_json_schema"),
        (flat(strict="yes"), "tools[0].strict", "invalid_value"),
        (flat(description=3), "tools[0].description", "invalid_value"),
        (flat(description="x" * 65537), "tools[0].description", "invalid_value"),
    ],
)
def test_a_fault_is_named_by_its_path(tool, param, code):
    found = refused([tool])
    assert (found.param, found.code) == (param, code)


def test_chat_completions_names_its_own_paths():
    assert refused([nested("a b")], form="chat").param == "tools[0].function.name"
    assert refused([flat()], form="chat").param == "tools[0].function"


def test_a_name_may_stand_once():
    assert refused([flat(), flat()]).param == "tools[1].name"


def test_a_function_may_be_called_python_but_not_beside_the_built_in_one():
    both = [flat("python"), {"type": "code_interpreter"}]
    assert parse_tools(both, form="responses").kinds == {"python": "function"}
    for tools in (both, both[::-1]):
        assert refused(tools, available=namespaces_of([PYTHON])).param == "tools"


def test_servers_count_with_the_others():
    specs = [ToolSpec(name=f"post.t{i}", parameters={"type": "object"}) for i in range(128)]
    server = {"type": "mcp", "server_label": "post"}
    offer = namespaces_of(specs)
    assert parse_tools([server], form="responses", available=offer).can_be_called
    assert refused([server, flat()], available=offer).param == "tools"


def test_what_runs_here_needs_its_scope():
    tools = parse_tools(
        [{"type": "code_interpreter"}], form="chat", available=namespaces_of([PYTHON])
    )
    require_scope(tools, {"infer", "tools"})
    require_scope(RequestTools(), {"infer"})
    with pytest.raises(Forbidden, match="scope tools") as found:
        require_scope(tools, {"infer"})
    assert (found.value.status, found.value.code) == (403, "missing_scope")


def test_a_129th_tool_is_refused_whatever_its_type():
    assert refused([{"type": "mcp"}] * 129).param == "tools"
