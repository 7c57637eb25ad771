"""Which tools `ossia serve` offers: what was named, or what there is."""

import pytest

from ossia.cli.server_tools import ToolChoices
from ossia.errors import RequestError


def names(**choices):
    return list(ToolChoices(**choices).toolkits(len))


def test_unless_told_python_and_what_there_is_to_search_are_offered(ossia, tmp_path):
    assert names() == ["python"]
    (tmp_path / "a.md").write_text("# Owls")
    ossia("index", tmp_path)
    assert names() == ["python", "browser"]
    assert not ToolChoices().required


def test_what_is_named_is_offered_alone_and_must_be_there(monkeypatch):
    monkeypatch.setenv("EXA_API_KEY", "k")
    chosen = ToolChoices(tool=["web"])
    assert list(chosen.toolkits(len)) == ["browser"]
    assert chosen.required >= {"browser"}
    assert names(tool=["python=landlock", "web"]) == ["python", "browser"]


def test_what_is_named_and_missing_is_refused_at_once():
    with pytest.raises(RequestError, match="ossia index"):
        names(tool=["browser"])


def test_servers_of_a_file_come_beside_the_others_or_alone(tmp_path):
    file = tmp_path / "mcp.json"
    file.write_text('{"mcpServers": {"x": {"command": "true"}}}')
    assert names(mcp=file) == ["python", f"mcp={file}"]
    assert names(mcp=file, no_tools=True) == [f"mcp={file}"]
    assert names(no_tools=True) == []


@pytest.mark.parametrize("name", ["patch=.", "mcp=x", "shell"])
def test_callers_get_no_other_tools(name):
    with pytest.raises(RequestError, match="choose from python, browser, web"):
        names(tool=[name])


def test_tools_cannot_be_named_and_forbidden():
    with pytest.raises(RequestError, match="leave one out"):
        names(tool=["python"], no_tools=True)


def test_a_server_does_not_start_without_a_tool_that_was_demanded(ossia, monkeypatch):
    monkeypatch.setenv("OSSIA_PYTHON_CONTAINER", "false")
    ran = ossia("serve", "--port", 0, "--tool", "python=container")
    assert ran.code == 1
    assert "container: " in ran.err
    assert "listening on" not in ran.err
