from ossia.tools.announced import announced
from ossia.tools.tool import ToolSpec


def test_tools_are_sorted_by_where_the_prompt_names_them():
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    told = announced(
        [
            ToolSpec(name="python", body="text"),
            ToolSpec(name="functions.f", description="Does f.", parameters=schema),
            ToolSpec(name="browser.search"),
            ToolSpec(name="browser.open"),
            ToolSpec(name="files.read", parameters=schema),
        ],
        {"files": "Files of this project."},
    )
    assert told.builtins == ("browser", "python")
    (function,) = told.functions
    assert (function.name, function.description, function.parameters) == ("f", "Does f.", schema)
    (namespace,) = told.namespaces
    assert (namespace.name, namespace.description) == ("files", "Files of this project.")
    assert [tool.name for tool in namespace.tools] == ["read"]


def test_without_tools_nothing_is_told():
    told = announced([])
    assert (told.builtins, told.functions, told.namespaces) == ((), (), ())
