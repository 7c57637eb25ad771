"""The chat loop: carries out the effects of a session with a model and a screen."""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from ossia.chat.events import Event, collect
from ossia.cli.terminal.answer import AttachmentFolder, PlainAnswer
from ossia.cli.terminal.session import (
    Ask,
    ChatSession,
    Effect,
    Leave,
    LoadChat,
    SaveChat,
    Say,
    ShowStats,
    load_chat,
    save_chat,
)
from ossia.errors import OssiaError

if TYPE_CHECKING:
    from ossia import LLM, SamplingParams


class AnswerView(Protocol):
    """Shows one answer while it streams."""

    def show(self, event: Event) -> None:
        """Show one event."""

    def close(self) -> None:
        """Finish the display, also after an interruption."""


class Screen(Protocol):
    """Displays a conversation."""

    def answer(self, *, shows_thinking: bool) -> AnswerView:
        """Begin to show an answer."""

    def say(self, text: str) -> None:
        """Show a message of the program."""

    def complain(self, text: str) -> None:
        """Show an error."""


class PlainScreen:
    """The screen without a terminal: answers on stdout, everything else on stderr."""

    def __init__(
        self, stdout: TextIO, stderr: TextIO, *, quiet: bool, files: AttachmentFolder | None = None
    ) -> None:
        self._stdout, self._stderr, self._quiet = stdout, stderr, quiet
        self._files = files

    def answer(self, *, shows_thinking: bool) -> AnswerView:
        shows = shows_thinking and not self._quiet
        return PlainAnswer(self._stdout, self._stderr, shows_thinking=shows, files=self._files)

    def say(self, text: str) -> None:
        if not self._quiet:
            print(text, file=self._stderr, flush=True)

    def complain(self, text: str) -> None:
        print(f"ossia: {text}", file=self._stderr, flush=True)


class ChatLoop:
    """One conversation with one model."""

    def __init__(
        self,
        llm: "LLM",
        session: ChatSession,
        screen: Screen,
        params: "SamplingParams",
        stream_options: dict[str, Any],
    ) -> None:
        """Start a conversation.

        Args:
            llm: an open model.
            session: receives every line and answer.
            screen: displays them.
            params: sampling parameters; a seed is raised by one for each answer.
            stream_options: further arguments of `LLM.stream`, the same for every answer.
        """
        self.llm = llm
        self.session = session
        self.has_failed = False
        self._screen = screen
        self._params = params
        self._stream_options = stream_options

    def enter(self, line: str) -> bool:
        """Handle one message or command; return False when the user leaves."""
        try:
            return self._carry_out(self.session.enter(line))
        except OssiaError as error:
            self.has_failed = True
            self._screen.complain(str(error))
            return True

    @property
    def context_tokens(self) -> int:
        """Tokens of the conversation so far, as the next prompt will hold them."""
        messages = self.session.messages()
        return len(self.llm.render(messages, **self._prompt())) if messages else 0

    def _carry_out(self, effect: Effect) -> bool:
        match effect:
            case Say(text):
                if text:
                    self._screen.say(text)
            case Ask():
                self._answer()
            case SaveChat(path):
                self._screen.say(f"saved in {save_chat(self.session, path, self.llm.name)}")
            case LoadChat(path):
                self._load(path)
            case ShowStats():
                self._screen.say("\n".join(self._stats()))
            case Leave():
                return False
        return True

    def _answer(self) -> None:
        session, params = self.session, self._params
        if params.seed is not None:
            params = replace(params, seed=params.seed + session.num_answers)
        options = self._stream_options | self._prompt()
        try:
            stream = self.llm.stream(session.messages(), params=params, **options)
        except OssiaError:
            session.refused()
            raise
        shown = self._screen.answer(shows_thinking=session.shows_thinking)
        stopped = False

        def until_stopped() -> Iterator[Event]:
            nonlocal stopped
            try:
                for event in stream:
                    yield event
                    shown.show(event)
            except KeyboardInterrupt:
                stopped = True

        try:
            reply = collect(until_stopped())
        finally:
            stream.close()
            shown.close()
        session.answered(reply, stopped=stopped)
        if stopped:
            self._screen.say("(stopped; /retry answers again)")
        elif reply.finish_reason == "length":
            self._screen.say(f"(cut off after {reply.usage.completion_tokens} tokens)")

    def _prompt(self) -> dict[str, Any]:
        """The options of the prompt that the session may change."""
        values = {"effort": self.session.effort, "instructions": self.session.instructions}
        date = {"date": self._stream_options["date"]} if "date" in self._stream_options else {}
        return date | {name: value for name, value in values.items() if value is not None}

    def _load(self, path: str) -> None:
        loaded = load_chat(path)
        session = self.session
        session.effort, session.instructions = loaded.effort, loaded.instructions
        session.turns = loaded.turns
        self._screen.say(f"{len(loaded.turns)} questions and answers loaded from {path}")

    def _stats(self) -> list[str]:
        session, longest = self.session, self.llm.context_length
        used = self.context_tokens
        return [
            f"context  {used:,} of {longest:,} tokens ({used / longest:.0%})",
            f"answers  {session.num_answers}; {session.usage.completion_tokens:,} tokens written, "
            f"{session.usage.reasoning_tokens:,} of them thinking",
            f"last     first token after {session.timing.time_to_first_token:.2f} s, then "
            f"{session.timing.tokens_per_second:.1f} tokens/s",
        ]
