"""Tools named on the command line: opened, asked about, shown."""

import json
import sys
from pathlib import Path

import pytest

from ossia.chat.events import ToolCalled, ToolRan
from ossia.chat.loop import PendingCall
from ossia.cli import toolkits
from ossia.cli.tool_cards import card
from ossia.cli.toolkits import ask, open_tools
from ossia.errors import RequestError
from ossia.tools.tool import Attachment, ToolResult, ToolSpec

LETTERS = len


def ran(text, arguments="1+1", **result):
    return ToolRan("c1", "python", arguments, ToolResult(text=text, **result), 0.25)


def pending(arguments):
    return PendingCall(
        ToolCalled("c1", "apply_patch", arguments), ToolSpec(name="functions.apply_patch"), True
    )


def test_a_card_says_what_was_called_what_came_and_how_long_it_took():
    assert card(ran("2")) == "[python ran, 0.25 s]\n  > 1+1\n  2\n"


def test_a_failure_and_files_are_told():
    shown = card(
        ran("no", is_error=True, attachments=(Attachment(name="a", media_type="b", content=b"xy"),))
    )
    assert shown.startswith("[python failed,")
    assert shown.endswith("  + a, 2 bytes\n")


def test_the_middle_of_a_long_result_is_left_out_and_nothing_commands_the_terminal():
    shown = card(ran("\n".join(map(str, range(100))) + "\n\x1b[2J"))
    assert "... 90 lines ..." in shown
    assert "\x1b" not in shown
    assert shown.count("\n") < 20


def test_no_name_opens_nothing():
    assert open_tools([], LETTERS) is None


@pytest.mark.parametrize("name", ["shell", "patch", "patch=", "mcp="])
def test_an_unknown_tool_is_refused_with_the_names_there_are(name):
    with pytest.raises(RequestError, match="python, browser, patch=FOLDER"):
        open_tools([name], LETTERS)


def test_a_browser_without_pages_says_how_to_get_some():
    with pytest.raises(RequestError, match="ossia index FOLDER"):
        open_tools(["browser"], LETTERS)


def test_tools_are_opened_by_name(tmp_path, ossia):
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "a.md").write_text("# Owls\n\nOwls hunt at night.\n")
    assert ossia("index", tmp_path / "pages").code == 0
    with open_tools(["browser", f"patch={tmp_path}"], LETTERS) as tools:
        names = [spec.name for spec in tools.specs]
    assert names == ["browser.search", "browser.open", "browser.find", "functions.apply_patch"]


def test_mcp_servers_of_a_file_are_opened_and_what_does_not_work_is_said(tmp_path, capsys):
    raw = Path(__file__).parents[1] / "tools" / "mcp" / "raw_server.py"
    servers = {
        "raw": {"command": sys.executable, "args": [str(raw)], "allowedTools": ["echo"]},
        "gone": {"command": str(tmp_path / "nothing")},
    }
    (tmp_path / "mcp.json").write_text(json.dumps({"mcpServers": servers}))
    with open_tools([f"mcp={tmp_path / 'mcp.json'}"], LETTERS) as tools:
        assert [spec.name for spec in tools.specs] == ["raw.echo"]
        assert "raw" in tools.session.descriptions
    assert "the MCP server gone is not offered" in capsys.readouterr().err


def test_without_a_terminal_the_answer_is_no():
    assert not ask(pending("*** Begin Patch"))


@pytest.fixture
def terminal(monkeypatch):
    said = []
    monkeypatch.setattr(toolkits, "is_terminal", lambda stream: True)
    monkeypatch.setattr(toolkits.typer, "echo", lambda text, err: said.append(text))
    return said


def test_at_a_terminal_the_exact_call_is_shown(terminal, monkeypatch):
    monkeypatch.setattr(toolkits.typer, "confirm", lambda text, default, err: True)
    assert ask(pending("a\x1b[2Jb"))
    assert "functions.apply_patch" in terminal[0]
    assert "\x1b" not in terminal[0]


def test_what_is_too_long_to_be_read_is_not_allowed(terminal):
    assert not ask(pending("x" * 5000))
    assert terminal == []


def test_leaving_the_question_is_a_no(terminal, monkeypatch):
    def leave(text, default, err):
        raise toolkits.typer.Abort

    monkeypatch.setattr(toolkits.typer, "confirm", leave)
    assert not ask(pending("x"))


def test_run_shows_a_card_and_json_lists_the_runs(ossia, tmp_path):
    (tmp_path / "a.md").write_text("# Owls\n\nOwls hunt at night.\n")
    ossia("index", tmp_path)
    asked = ("run", "Search for owls", "--tool", "browser", "--max-tokens", 60, "--seed", 1)
    ran = ossia(*asked, "--json")
    assert ran.code == 0
    assert isinstance(json.loads(ran.out)["tool_runs"], list)
    assert ossia(*asked).code == 0


def test_raw_text_takes_no_tools(ossia):
    ran = ossia("run", "x", "--raw", "--tool", "python")
    assert ran.code == 2
    assert "tool" in ran.err
