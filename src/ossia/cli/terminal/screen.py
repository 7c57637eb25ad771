"""The terminal of `ossia chat`: streaming markdown, dimmed thinking, a line editor with history.

Imported only at a terminal, since rich and prompt_toolkit are slow to import.
"""

import time
from collections.abc import Callable, Iterable
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.markdown import Markdown
from rich.segment import Segment
from rich.status import Status
from rich.text import Text as Styled

from ossia.chat.events import Event, PreambleDelta, ReasoningDelta, TextDelta, ToolFinished
from ossia.cli.terminal.answer import AttachmentFolder, card
from ossia.cli.terminal.conversation import AnswerView
from ossia.cli.terminal.markdown import Blocks
from ossia.cli.terminal.session import COMMANDS, is_open
from ossia.cli.terminal.terminal import harmless

FREE_ROWS = 3
"""Rows of the terminal left free while the tail of an answer is redrawn."""


class TerminalScreen:
    """The screen of a terminal, with styles."""

    def __init__(self, console: Console, files: AttachmentFolder | None = None) -> None:
        self._console = console
        self._files = files

    def answer(self, *, shows_thinking: bool) -> AnswerView:
        return LiveAnswer(self._console, shows_thinking=shows_thinking, files=self._files)

    def say(self, text: str) -> None:
        self._console.print(Styled(harmless(text), style="dim"))

    def complain(self, text: str) -> None:
        self._console.print(Styled(f"ossia: {harmless(text)}", style="red"))


class LiveAnswer:
    """Draws one answer: finished blocks once, the unfinished tail again as it grows."""

    def __init__(
        self, console: Console, *, shows_thinking: bool, files: AttachmentFolder | None = None
    ) -> None:
        self._console = console
        self._files = files or AttachmentFolder()
        self._shows_thinking = shows_thinking
        self._blocks = Blocks()
        self._num_drawn = 0
        self._live: Live | None = None
        self._status: Status | None = None
        self._thinking_since: float | None = None

    def show(self, event: Event) -> None:
        match event:
            case ReasoningDelta(text) | PreambleDelta(text):
                self._think(harmless(text))
            case TextDelta(text):
                self._write(harmless(text))
            case ToolFinished():
                self._end_thinking()
                self._end_writing()
                self._console.print(Styled(card(event, self._files), style="dim"), end="")
            case _:
                pass

    def close(self) -> None:
        self._end_thinking()
        self._end_writing()
        if self._num_drawn:
            self._console.print()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw the last lines of the tail: a terminal cannot redraw more than its height."""
        lines = console.render_lines(_markdown(self._blocks.tail), options, pad=False)
        for line in lines[-max(1, console.height - FREE_ROWS) :]:
            yield from line
            yield Segment.line()

    def _think(self, text: str) -> None:
        self._end_writing()
        if self._thinking_since is None:
            self._thinking_since = time.monotonic()
        if self._shows_thinking:
            self._console.print(Styled(text, style="dim"), end="", soft_wrap=True)
            return
        if self._status is None:
            self._status = Status("", console=self._console)
            self._status.start()
        self._status.update(f"thinking, {time.monotonic() - self._thinking_since:.0f} s")

    def _end_thinking(self) -> None:
        if self._thinking_since is None:
            return
        if self._status is not None:
            self._status.stop()
            self._status = None
            seconds = time.monotonic() - self._thinking_since
            self._console.print(Styled(f"thought for {seconds:.0f} s (/think: see it)", "dim"))
        else:
            self._console.print("\n")
        self._thinking_since = None

    def _write(self, text: str) -> None:
        self._end_thinking()
        if self._live is None:
            self._live = Live(self, console=self._console, transient=True, refresh_per_second=10)
            self._live.start()
        for block in self._blocks.push(text):
            self._draw(block)

    def _end_writing(self) -> None:
        if self._live is None:
            return
        rest, self._blocks = self._blocks.tail.strip("\n"), Blocks()
        self._live.stop()
        self._live = None
        if rest:
            self._draw(rest)

    def _draw(self, block: str) -> None:
        if self._num_drawn:
            self._console.print()
        self._console.print(_markdown(block))
        self._num_drawn += 1


def _markdown(text: str) -> Markdown:
    """Parse model text as markdown; URLs are shown, not hidden behind links."""
    return Markdown(text, hyperlinks=False, code_theme="ansi_dark")


class CommandCompleter(Completer):
    """Completes slash commands."""

    def get_completions(self, document: Document, event: CompleteEvent) -> Iterable[Completion]:
        typed = document.text
        if typed.startswith("/") and " " not in typed:
            for name, command in COMMANDS.items():
                if name.startswith(typed):
                    about = command.about
                    yield Completion(name, start_position=-len(typed), display_meta=about)


def line_editor(history_file: Path | None, toolbar: Callable[[], str]) -> PromptSession[str]:
    """Build the prompt: history, completion, several lines, an external editor.

    Args:
        history_file: private and writable; None: history ends with this run.
        toolbar: returns the text of the bottom line.
    """
    keys = KeyBindings()

    @keys.add("c-g")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.open_in_editor()

    @keys.add("escape", "enter")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    history: History = InMemoryHistory() if history_file is None else FileHistory(str(history_file))
    session: PromptSession[str] = PromptSession(
        ">>> ",
        history=history,
        enable_history_search=True,
        completer=CommandCompleter(),
        complete_while_typing=False,
        key_bindings=keys,
        bottom_toolbar=toolbar,
        prompt_continuation="... ",
        multiline=Condition(lambda: is_open(session.default_buffer.text)),
    )
    return session
