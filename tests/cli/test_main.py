"""The door: help, version, exit statuses, one line for every mistake."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.core import TyperCommand

from ossia import __version__
from ossia.cli import commands
from ossia.cli.app import AllCommands, app
from ossia.cli.commands import COMMANDS


def command(name):
    group = typer.main.get_command(app)
    assert isinstance(group, AllCommands)
    return group.get_command(None, name)


def test_help_lists_every_command_in_its_group(ossia):
    ran = ossia("--help")
    assert ran.code == 0
    assert all(f"\n  {name} " in ran.out for name in COMMANDS)
    assert ran.out.index("Ask:") < ran.out.index("Models:") < ran.out.index("This computer:")


def test_the_table_lists_every_module_of_the_commands():
    folder = Path(commands.__file__).parent
    assert {file.stem for file in folder.glob("[!_]*.py")} == COMMANDS.keys()


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_the_table_is_that_of_the_command(name):
    assert command(name).help.splitlines()[0] == COMMANDS[name][1]


@pytest.mark.parametrize("columns", ["50", "80", "200"])
def test_typer_would_list_the_same_options(ossia, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    group = typer.main.get_command(app)
    context = group.make_context("ossia", ["run"])
    formatter = context.make_formatter()
    TyperCommand.format_options(group, context, formatter)
    assert formatter.getvalue().strip() in ossia("--help").out


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("words", ["--help", "list", "keys --help", "chat"])
def test_a_closed_stream_is_an_empty_one(closed, words, tmp_path):
    command = f"{shlex.quote(sys.executable)} -m ossia {words} {closed}"
    ran = subprocess.run(
        command, shell=True, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert ran.returncode == 0
    assert "Traceback" not in ran.stderr


def test_help_beside_other_options_is_the_same(ossia):
    assert ossia("--help", "run").out == ossia("--help").out


def test_a_shell_gets_completions(ossia_process):
    asks = {"_OSSIA_COMPLETE": "complete_bash", "COMP_WORDS": "ossia ch", "COMP_CWORD": "1"}
    assert ossia_process(env=os.environ | asks).stdout.split() == ["chat"]


def test_without_a_command_there_is_help(ossia):
    assert ossia().out == ossia("--help").out
    assert ossia().code == 0


def test_the_word_help_asks_for_help(ossia):
    assert ossia("help").out == ossia("--help").out
    assert ossia("help", "run").out == ossia("run", "--help").out


def test_the_version_is_that_of_the_package(ossia):
    assert ossia("--version").out == f"ossia {__version__}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_ends_with_examples_of_it(ossia, name):
    ran = ossia(name, "--help")
    examples = ran.out.rpartition("Example")[2].splitlines()[1:]
    assert ran.code == 0
    assert examples
    assert all(line.startswith(f"  ossia {name}") for line in examples)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_example_is_one_that_the_command_understands(name):
    for line in command(name).epilog.strip().splitlines():
        typed = shlex.split(line.partition("<")[0].partition(">")[0])
        assert typed[:2] == ["ossia", name]
        command(name).make_context(name, typed[2:])  # raises for wrong usage


@pytest.mark.parametrize(
    ("args", "found"),
    [
        (["sing"], "No such command 'sing'"),
        (["rum"], "No such command 'rum'; did you mean 'run'; see: ossia --help"),
        (["run", "What", "is", "it?"], "(is it?); put the question in quotes"),
        (["run", "hi", "--loud"], "No such option: --loud"),
        (["run", "hi", "--threads", "none"], "'--threads'"),
        (["run", "hi", "--context-length", "8q"], "'8q' is not a number of tokens"),
        (["run", "hi", "--effort", "huge"], "'--effort'"),
        (["run"], "it is empty; give it as an argument or pipe it in"),
        (["run", "--raw", "--system", "x", "hi"], "instructions would be lost"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(ossia, args, found):
    ran = ossia(*args)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("ossia: ")
    assert ran.err.count("\n") == 1
    assert found in ran.err
    assert "--help" in ran.err


@pytest.mark.parametrize(
    ("args", "found"),
    [
        (["show", "-m", "nowhere"], "no model is called 'nowhere'"),
        (["show", "-m", "openai/gpt-oss-20b"], "hf download openai/gpt-oss-20b"),
        (["run", "hi", "--temperature", "9"], "temperature is 9.0; it must be"),
        (["run", "hi", "--temperature", "nan"], "temperature is nan; it must be"),
    ],
)
def test_a_refusal_is_one_line_and_status_1(ossia, args, found):
    ran = ossia(*args, "-q") if args[0] == "run" else ossia(*args)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("ossia: ")
    assert ran.err.count("\n") == 1
    assert found in ran.err


def test_a_setting_of_the_environment_is_named_when_it_is_wrong(ossia, monkeypatch):
    monkeypatch.setenv("OSSIA_THREADS", "many")
    ran = ossia("run", "hi")
    assert ran.code == 2
    assert "OSSIA_THREADS" in ran.err


def test_an_option_goes_before_the_environment(ossia, monkeypatch, folder):
    monkeypatch.setenv("OSSIA_MODEL", "nowhere")
    assert ossia("show").code == 1
    assert ossia("show", "-m", folder).code == 0


def test_a_name_cannot_speak_to_the_terminal(ossia):
    ran = ossia("show", "-m", "a\x1b[2Jb\nc")
    assert ran.err.count("\n") == 1
    assert "\x1b" not in ran.err


def test_a_closed_pipe_is_no_error(ossia_process):
    reader = subprocess.Popen(["true"], stdin=subprocess.PIPE)
    reader.wait()
    with reader.stdin:
        for args in (["--help"], ["list"], ["run", "--help"]):
            ran = ossia_process(*args, capture_output=False, stdout=reader.stdin, stderr=-1)
            assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/full is Linux's")
def test_a_full_disk_is_one_line(ossia_process):
    with open("/dev/full", "w") as full:
        ran = ossia_process("list", capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert ran.returncode == 1
    assert ran.stderr == (
        "ossia: no space left where the output goes; free some, or write elsewhere\n"
    )
