"""Tools named on the command line: opened, asked about, shown."""

import asyncio
import dataclasses
import io
import json
import shutil
import sys
from pathlib import Path

import pytest
from rich.console import Console

from ossia.chat.agent_loop import PendingCall
from ossia.chat.events import Reply, ToolCalled, ToolFinished
from ossia.cli.commands.run import as_json
from ossia.cli.terminal import approval
from ossia.cli.terminal.answer import AttachmentFolder, card
from ossia.cli.terminal.approval import ask_approval, open_tools
from ossia.cli.terminal.conversation import PlainScreen
from ossia.cli.terminal.screen import TerminalScreen
from ossia.cli.terminal.terminal import say
from ossia.errors import RequestError
from ossia.tools.browser.providers import SERVICES
from ossia.tools.catalog import choose, python_options
from ossia.tools.tool import Attachment, ToolResult, ToolSpec
from tests.tools.browser.web_server import page, serving

LETTERS = len


def ran(text, arguments="1+1", **result):
    return ToolFinished("c1", "python", arguments, ToolResult(text=text, **result), 0.25)


def pending(arguments):
    return PendingCall(
        ToolCalled("c1", "apply_patch", arguments), ToolSpec(name="functions.apply_patch"), True
    )


def test_a_card_says_what_was_called_what_came_and_how_long_it_took():
    assert card(ran("2"), AttachmentFolder()) == "[python ran, 0.25 s]\n  > 1+1\n  2\n"


def test_a_failure_and_files_are_told():
    shown = card(
        ran(
            "no",
            is_error=True,
            attachments=(Attachment(name="a", media_type="b", content=b"xy"),),
        ),
        AttachmentFolder(),
    )
    assert shown.startswith("[python failed,")
    assert shown.endswith("  + a, 2 bytes\n")


def test_the_middle_of_a_long_result_is_left_out_and_nothing_commands_the_terminal():
    shown = card(ran("\n".join(map(str, range(100))) + "\n\x1b[2J"), AttachmentFolder())
    assert "... 90 lines ..." in shown
    assert "\x1b" not in shown
    assert shown.count("\n") < 20


def test_no_name_opens_nothing():
    assert open_tools([], LETTERS) is None


@pytest.fixture(autouse=True)
def _no_search_service(monkeypatch):
    for variable in SERVICES:
        monkeypatch.delenv(variable, raising=False)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("shell", "choose from python, browser, web, patch=FOLDER, mcp=FILE"),
        ("patch", "expected patch=FOLDER"),
        ("patch=", "expected patch=FOLDER"),
        ("mcp=", "expected mcp=FILE"),
        ("python=", "expected python"),
        ("browser=x", "expected browser"),
        ("web=x", "expected web"),
    ],
)
def test_an_unknown_tool_is_refused_with_the_names_there_are(name, expected):
    with pytest.raises(RequestError, match=f"{expected}$") as refused:
        open_tools([name], LETTERS)
    assert f"{name!r}" in str(refused.value)


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("web", "YDC_API_KEY, EXA_API_KEY, TAVILY_API_KEY, SEARXNG_URL"),
        ("browser", "ossia index FOLDER, or search the web: --tool web"),
        ("patch=nowhere", "there is no such folder"),
        ("mcp=nowhere.json", "nowhere.json"),
        ("python=paper", "choose from bubblewrap, landlock, seatbelt, container"),
        ("python=unsandboxed", "choose from bubblewrap, landlock, seatbelt, container"),
        ("python=container", "OSSIA_PYTHON_CONTAINER"),
    ],
)
def test_what_is_missing_is_said_with_the_remedy(name, remedy):
    with pytest.raises(RequestError) as refused:
        choose([name])
    assert remedy in str(refused.value)


def test_what_is_missing_is_said_before_a_model_is_opened(ossia, tmp_path):
    ran = ossia("run", "x", "-m", tmp_path / "no model", "--tool", "web")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("ossia: web needs a search service")
    assert ran.err.count("\n") == 1


def test_python_can_be_sandboxed_in_one_way_only():
    with pytest.raises(RequestError, match="named twice"):
        choose(["python", "python=landlock"])


def test_the_container_command_of_the_environment_is_used(monkeypatch):
    monkeypatch.setenv("OSSIA_PYTHON_CONTAINER", "podman run -i --name '{name}' 'my image'")
    options = python_options("container")
    assert options.sandbox == "container"
    assert options.container == ("podman", "run", "-i", "--name", "{name}", "my image")
    assert python_options() == dataclasses.replace(options, sandbox="auto")
    monkeypatch.setenv("OSSIA_PYTHON_CONTAINER", "podman 'run")
    with pytest.raises(RequestError, match="OSSIA_PYTHON_CONTAINER is not a command"):
        python_options()


def test_a_sandbox_that_does_not_hold_here_is_refused_and_no_other_taken(monkeypatch):
    monkeypatch.setenv("OSSIA_PYTHON_CONTAINER", "false")
    with pytest.raises(RequestError, match="container: ") as refused:
        open_tools(["python=container"], LETTERS)
    assert "landlock: " not in str(refused.value)


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


FOUND = {"results": [{"url": "http://bees.example/", "title": "Bees", "content": "honey"}]}


async def searched(names, monkeypatch):
    """Labels and a search of the browser of these names, the web played by a server here."""
    async with serving(lambda path: page(json.dumps(FOUND))) as site:
        monkeypatch.setenv("SEARXNG_URL", f"http://127.0.0.1:{site.port}")
        (start,) = choose(names, notify=say).values()
        toolkit = await start(LETTERS)
        session = await toolkit.open()
        search = next(tool for tool in session.tools if tool.spec.name == "browser.search")
        found = await search.call('{"query": "night"}')
        return search.spec.labels, found, site.paths


def test_the_web_is_searched_with_the_service_of_the_environment(monkeypatch):
    labels, found, paths = asyncio.run(searched(["web"], monkeypatch))
    assert labels == {"reads_untrusted", "external_effect"}
    assert "【0†Bees†bees.example】 honey" in found.text
    assert paths == ["/search?q=night&format=json"]


def test_web_and_own_pages_are_one_browser(monkeypatch, tmp_path, ossia, capsys):
    (tmp_path / "a.md").write_text("# Owls\n\nOwls hunt at night.\n")
    assert ossia("index", tmp_path, "--private").code == 0
    labels, found, _ = asyncio.run(searched(["web", "browser"], monkeypatch))
    assert labels == {"reads_untrusted", "external_effect", "reads_private"}
    assert "Owls" in found.text
    assert "bees.example" in found.text
    assert "needs approval" in capsys.readouterr().err


def test_private_pages_and_the_web_are_not_offered_where_nobody_can_be_asked(
    monkeypatch, tmp_path, ossia
):
    (tmp_path / "a.md").write_text("# Owls")
    assert ossia("index", tmp_path, "--private").code == 0
    monkeypatch.setenv("EXA_API_KEY", "k")
    (start,) = choose(["web", "browser"], can_ask=False).values()
    with pytest.raises(RequestError, match="nobody can be asked; leave out browser or web"):
        asyncio.run(start(LETTERS))
    (start,) = choose(["browser"], can_ask=False).values()
    assert len(asyncio.run(start(LETTERS)).specs) == 3


def test_own_pages_alone_reach_nobody(monkeypatch, tmp_path, ossia):
    (tmp_path / "a.md").write_text("# Owls\n\nOwls hunt at night.\n")
    assert ossia("index", tmp_path).code == 0
    labels, found, paths = asyncio.run(searched(["browser"], monkeypatch))
    assert labels == {"reads_untrusted"}
    assert "Owls" in found.text
    assert paths == []


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
    assert not ask_approval(pending("*** Begin Patch"))


@pytest.fixture
def terminal(monkeypatch):
    shown = []
    monkeypatch.setattr(approval, "is_terminal", lambda stream: True)
    monkeypatch.setattr(approval.typer, "echo", lambda text, err: shown.append(text))
    return shown


def test_at_a_terminal_the_exact_call_is_shown(terminal, monkeypatch):
    monkeypatch.setattr(approval.typer, "confirm", lambda text, default, err: True)
    assert ask_approval(pending("a\x1b[2Jb"))
    assert "functions.apply_patch" in terminal[0]
    assert "\x1b" not in terminal[0]


def test_what_is_too_long_to_be_read_is_not_allowed(terminal):
    assert not ask_approval(pending("x" * 5000))
    assert terminal == []


def test_leaving_the_question_is_a_no(terminal, monkeypatch):
    def leave(text, default, err):
        raise approval.typer.Abort

    monkeypatch.setattr(approval.typer, "confirm", leave)
    assert not ask_approval(pending("x"))


PLOT = Attachment(name="plot.png", media_type="image/png", content=b"png")


def test_a_file_of_a_tool_is_kept_and_named_wherever_an_answer_is_shown(tmp_path):
    event = ran("done", attachments=(PLOT,))
    out, err, console = io.StringIO(), io.StringIO(), Console(file=io.StringIO(), width=300)
    files = AttachmentFolder(tmp_path)
    PlainScreen(out, err, quiet=False, files=files).answer(shows_thinking=True).show(event)
    TerminalScreen(console, files).answer(shows_thinking=True).show(event)
    assert f"  + {tmp_path / 'plot.png'}, 3 bytes\n" in err.getvalue()
    assert f"+ {tmp_path / 'plot-2.png'}, 3 bytes" in console.file.getvalue()
    assert (tmp_path / "plot-2.png").read_bytes() == b"png"


def test_json_says_where_a_file_is(tmp_path, capsys):
    reply = Reply(tool_runs=[ran("done", attachments=(PLOT,))])

    def files_json(files):
        (one,) = json.loads(as_json("nano", reply, files))["tool_runs"]
        return one["files"]

    path = str(tmp_path / "out" / "plot.png")
    file = {"name": "plot.png", "media_type": "image/png", "bytes": 3}
    assert files_json(AttachmentFolder()) == [{**file, "path": None}]
    files = AttachmentFolder(tmp_path / "out")
    assert files_json(files) == [{**file, "path": path}]
    shutil.rmtree(tmp_path / "out")
    assert files_json(files) == [{**file, "path": None}]
    assert "plot.png is not saved: No such file" in capsys.readouterr().err


def test_run_shows_a_card_and_json_lists_the_runs(ossia, tmp_path):
    (tmp_path / "a.md").write_text("# Owls\n\nOwls hunt at night.\n")
    ossia("index", tmp_path)
    arguments = ("run", "Search for owls", "--tool", "browser", "--max-tokens", 60, "--seed", 1)
    ran = ossia(*arguments, "--json")
    assert ran.code == 0
    assert isinstance(json.loads(ran.out)["tool_runs"], list)
    assert ossia(*arguments).code == 0


def test_raw_text_takes_no_tools(ossia):
    ran = ossia("run", "x", "--raw", "--tool", "python")
    assert ran.code == 2
    assert "tool" in ran.err
