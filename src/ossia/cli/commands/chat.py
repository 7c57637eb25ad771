"""`ossia chat`: a conversation, at a terminal or line by line from a pipe."""

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ossia.cli.options import (
    MachineOptions,
    ModelOptions,
    PromptOptions,
    SamplingOptions,
    ToolOptions,
    open_llm,
    spread,
)
from ossia.cli.terminal.answer import AttachmentFolder
from ossia.cli.terminal.approval import open_tools
from ossia.cli.terminal.conversation import ChatLoop, PlainScreen
from ossia.cli.terminal.prompt import read_lines
from ossia.cli.terminal.session import ChatSession, Lines
from ossia.cli.terminal.terminal import harmless, introduce, is_terminal
from ossia.files import private_file, state_folder

if TYPE_CHECKING:
    from ossia import LLM, SamplingParams
    from ossia.cli.terminal.screen import TerminalScreen

EXAMPLES = """
ossia chat
ossia chat -m FOLDER --effort high --system "Answer in German."
"""


@spread
def command(
    *,
    model: ModelOptions,
    machine: MachineOptions,
    prompt_options: PromptOptions,
    sampling: SamplingOptions,
    tools: ToolOptions,
) -> None:
    """Chat with a model; /help lists the commands. From a pipe, each line is a message."""
    params = sampling.params()
    session = ChatSession(effort=prompt_options.effort, instructions=prompt_options.system)
    turn_options = prompt_options.set_values()
    files = AttachmentFolder(tools.files)
    with ExitStack() as stack:
        tool_session = open_tools(tools.tool or [], lambda text: llm.count_tokens(text))
        if tool_session is not None:  # before the model, so that errors come at once
            stack.enter_context(tool_session)
        if not model.quiet:
            introduce(model.model)
        llm = stack.enter_context(open_llm(model, machine))
        llm.render(
            "",
            **{name: turn_options[name] for name in turn_options if name != "max_analysis_tokens"},
        )
        fixed = {
            name: turn_options[name]
            for name in turn_options
            if name in ("date", "max_analysis_tokens")
        }
        if tool_session is not None:
            fixed["tools"] = tool_session
        if is_terminal(sys.stdin) and is_terminal(sys.stdout):
            _at_terminal(llm, session, params, fixed, files)
            return
        screen = PlainScreen(sys.stdout, sys.stderr, quiet=model.quiet, files=files)
        chat_loop = ChatLoop(llm, session, screen, params, fixed)
        _from_pipe(chat_loop)
        if chat_loop.has_failed:
            raise typer.Exit(1)


def _from_pipe(chat_loop: ChatLoop) -> None:
    lines = Lines()
    for line in read_lines(sys.stdin.buffer):
        message = lines.push(line)
        if message is not None and not chat_loop.enter(message):
            return
    if rest := lines.close():
        chat_loop.enter(rest)


def _at_terminal(
    llm: "LLM",
    session: ChatSession,
    params: "SamplingParams",
    fixed: dict[str, object],
    files: AttachmentFolder,
) -> None:
    from rich.console import Console

    from ossia.cli.terminal.screen import TerminalScreen, line_editor

    screen = TerminalScreen(Console(highlight=False), files)
    chat_loop = ChatLoop(llm, session, screen, params, fixed)
    editor = line_editor(_history(screen), lambda: _toolbar(chat_loop))
    screen.say("/help lists the commands, Ctrl-D leaves")
    while True:
        try:
            if not chat_loop.enter(editor.prompt()):
                return
        except KeyboardInterrupt:
            screen.say("(Ctrl-D leaves)")
        except EOFError:
            return


def _history(screen: "TerminalScreen") -> Path | None:
    try:
        return private_file(state_folder(), "chat-history")
    except OSError as error:
        screen.complain(f"the history of this chat is not saved: {error}")
        return None


def _toolbar(chat_loop: ChatLoop) -> str:
    """The line at the bottom: model, effort, context used, speed of the last answer."""
    used, longest = chat_loop.context_tokens, chat_loop.llm.context_length
    parts = [
        chat_loop.llm.name,
        f"effort {chat_loop.session.effort or 'medium'}",
        f"context {used:,} of {longest:,} ({used / longest:.0%})",
    ]
    if rate := chat_loop.session.timing.tokens_per_second:
        parts.append(f"{rate:.0f} tokens/s")
    return harmless(" | ".join(parts))
