"""A chat session: parses lines into effects, and saves and loads conversations.

It uses neither terminal nor model; `conversation.py` carries the effects out.
"""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from ossia.chat.events import Reply, Timing, Usage
from ossia.errors import RequestError
from ossia.files import atomic_write

Effort = Literal["low", "medium", "high"]

QUOTES = '"""'


@dataclass(frozen=True, slots=True)
class Say:
    """Show the user a message of the program."""

    text: str


@dataclass(frozen=True, slots=True)
class Ask:
    """Let the model answer the last turn."""


@dataclass(frozen=True, slots=True)
class SaveChat:
    """Write the conversation to a file."""

    path: str


@dataclass(frozen=True, slots=True)
class LoadChat:
    """Continue the conversation in a file."""

    path: str


@dataclass(frozen=True, slots=True)
class ShowStats:
    """Show the numbers of tokens and the speed."""


@dataclass(frozen=True, slots=True)
class Leave:
    """End the program."""


Effect = Say | Ask | SaveChat | LoadChat | ShowStats | Leave


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatTurn:
    """A question and its answer, which may be incomplete."""

    question: str
    answer: str = ""
    reasoning: str = ""
    is_whole: bool = False
    """Whether the answer is complete: False while it streams and when it was stopped."""


@dataclass(slots=True)
class ChatSession:
    """The state of one conversation and of how it is shown."""

    effort: Effort | None = None
    """None: the library's default."""
    instructions: str | None = None
    shows_thinking: bool = True
    turns: list[ChatTurn] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)
    """Sum over all answers since the start."""
    timing: Timing = field(default_factory=Timing)
    """Timing of the last answer."""
    num_answers: int = 0
    _before: list[ChatTurn] = field(default_factory=list)
    """The turns before the pending question, to go back to if it is refused."""

    def enter(self, line: str) -> Effect:
        """Parse one message or command, update the session, return what to do."""
        line = line.strip()
        name, _, rest = line.partition(" ")
        if line.startswith(QUOTES):
            return self._ask(line.removeprefix(QUOTES).removesuffix(QUOTES).strip())
        if not _looks_like_command(name):
            return self._ask(line)
        command = COMMANDS.get(ALIASES.get(name, name))
        if command is None:
            return Say(f"there is no command {name}; /help lists them")
        return command.run(self, rest.strip())

    def messages(self) -> list[dict[str, Any]]:
        """The conversation as `LLM.stream` takes it."""
        messages: list[dict[str, Any]] = []
        for turn in self.turns:
            messages.append({"role": "user", "content": turn.question})
            if turn.answer:
                messages.append({"role": "assistant", "content": turn.answer})
        return messages

    def answered(self, reply: Reply, *, stopped: bool) -> None:
        """Record an answer, also one that was stopped."""
        self.turns[-1] = replace(
            self.turns[-1], answer=reply.text, reasoning=_reasoning(reply), is_whole=not stopped
        )
        self.num_answers += 1
        counts = {
            name: getattr(self.usage, name) + getattr(reply.usage, name) for name in Usage.__slots__
        }
        self.usage = Usage(**counts)
        if not stopped:
            self.timing = reply.timing

    def refused(self) -> None:
        """Remove the pending question after an error."""
        self.turns = self._before

    def _ask(self, question: str) -> Effect:
        if not question:
            return Say("")
        return self._wait_for(question, self.turns)

    def _wait_for(self, question: str, earlier: list[ChatTurn]) -> Effect:
        self._before, self.turns = self.turns, [*earlier, ChatTurn(question=question)]
        return Ask()

    def _effort(self, level: str) -> Effect:
        if not level:
            return Say(f"effort is {self.effort or 'medium'}")
        chosen = next((each for each in get_args(Effort) if each == level), None)
        if chosen is None:
            return Say(f"effort is {level!r}; expected low, medium or high")
        self.effort = chosen
        return Say(f"effort is {level} from now on")

    def _system(self, text: str) -> Effect:
        if not text:
            return Say(f"instructions: {self.instructions or 'none'}")
        self.instructions = None if text == "none" else text
        return Say(
            "no instructions from now on" if text == "none" else "instructions set for every answer"
        )

    def _think(self, how: str) -> Effect:
        if not how:
            last = self.turns[-1].reasoning if self.turns else ""
            return Say(last or "the last answer has no thinking")
        if how not in ("show", "hide"):
            return Say(f"/think {how}: expected /think show, /think hide, or /think alone")
        self.shows_thinking = how == "show"
        return Say(f"thinking is {'shown' if self.shows_thinking else 'hidden'} from now on")

    def _retry(self, rest: str) -> Effect:
        if not self.turns:
            return Say("there is no question yet")
        return self._wait_for(self.turns[-1].question, self.turns[:-1])

    def _undo(self, rest: str) -> Effect:
        if not self.turns:
            return Say("there is no question yet")
        undone = self.turns.pop()
        return Say(f"removed: {_short(undone.question)}")

    def _save(self, path: str) -> Effect:
        return SaveChat(path) if path else Say("expected a file: /save FILE")

    def _load(self, path: str) -> Effect:
        return LoadChat(path) if path else Say("expected a file: /load FILE")

    def _stats(self, rest: str) -> Effect:
        return ShowStats()

    def _clear(self, rest: str) -> Effect:
        self.turns.clear()
        return Say("new conversation; effort and instructions stay")

    def _help(self, rest: str) -> Effect:
        width = max(len(each.usage) for each in COMMANDS.values())
        lines = [f"{each.usage:{width}}  {each.about}" for each in COMMANDS.values()]
        return Say("\n".join((*lines, "", *KEYS)))

    def _bye(self, rest: str) -> Effect:
        return Leave()


@dataclass(frozen=True, slots=True)
class Command:
    """A slash command."""

    usage: str
    about: str
    run: Callable[[ChatSession, str], Effect]


COMMANDS = {
    "/effort": Command("/effort low|medium|high", "reasoning effort", ChatSession._effort),
    "/system": Command(
        "/system TEXT", "set instructions for every answer; none: remove", ChatSession._system
    ),
    "/think": Command(
        "/think [show|hide]", "print the last thinking; or show, hide it", ChatSession._think
    ),
    "/retry": Command("/retry", "answer the last question again", ChatSession._retry),
    "/undo": Command("/undo", "remove the last question and its answer", ChatSession._undo),
    "/clear": Command("/clear", "start a new conversation", ChatSession._clear),
    "/save": Command("/save FILE", "save the conversation to a file", ChatSession._save),
    "/load": Command("/load FILE", "continue a saved conversation", ChatSession._load),
    "/stats": Command("/stats", "tokens, context and speed", ChatSession._stats),
    "/help": Command("/help", "show this list", ChatSession._help),
    "/bye": Command("/bye", "leave", ChatSession._bye),
}
ALIASES = {"/exit": "/bye", "/quit": "/bye", "/?": "/help"}
KEYS = (
    f"{QUOTES} starts and ends a message of several lines; pasted text stays one message.",
    "Ctrl-C stops an answer, Ctrl-D leaves, Ctrl-R searches what you typed before,",
    "Ctrl-G opens your editor, Alt-Enter inserts a new line.",
)


class Lines:
    """Joins lines into messages: one line, or all between triple quotes."""

    def __init__(self) -> None:
        self._open: list[str] = []

    def push(self, line: str) -> str | None:
        """Add a line; return the message once it is complete."""
        self._open.append(line)
        text = "\n".join(self._open)
        if is_open(text):
            return None
        self._open.clear()
        return text

    def close(self) -> str | None:
        """Return the incomplete message at the end of the input, if any."""
        text, self._open = "\n".join(self._open), []
        return text or None


def is_open(text: str) -> bool:
    """Whether a triple quote is still open, so the message continues."""
    text = text.strip()
    return text.startswith(QUOTES) and not (text.endswith(QUOTES) and len(text) >= 2 * len(QUOTES))


def _looks_like_command(word: str) -> bool:
    """Whether it is a slash and one plain word; a path such as /etc/hosts is not a command."""
    return word == "/?" or (word.startswith("/") and word[1:].isascii() and word[1:].isalpha())


def _reasoning(reply: Reply) -> str:
    """The reasoning before, between and after calls of tools, each part on lines of its own."""
    parts = [str(each.content) for each in reply.messages if each.channel == "analysis"]
    parts.append(reply.analysis.removeprefix("".join(parts)))  # of an answer that was stopped
    return "\n".join(filter(None, parts))


def _short(text: str, limit: int = 60) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[: limit - 3]}..."


FORMAT, VERSION = "ossia-conversation", 1
MAX_BYTES = 64 << 20
MAX_TURNS = 5_000
_TURN_FIELDS = {"question": str, "answer": str, "reasoning": str, "is_whole": bool}


def save_chat(session: ChatSession, path: str, model: str) -> Path:
    """Write a conversation, readable by its owner only; replaces a saved one.

    Raises:
        RequestError: the path is another kind of file, or cannot be written.
    """
    if "\0" in path:
        raise RequestError("a file name cannot contain NUL; choose another name")
    target = Path(os.path.realpath(os.path.expanduser(path)))
    if os.path.lexists(target):
        try:
            load_chat(path)
        except RequestError:
            raise RequestError(
                f"{path} exists and is not a saved conversation; choose another name"
            ) from None
    content = {
        "format": FORMAT,
        "version": VERSION,
        "model": model,
        "effort": session.effort,
        "instructions": session.instructions,
        "turns": [{name: getattr(turn, name) for name in _TURN_FIELDS} for turn in session.turns],
    }
    try:
        with atomic_write(target) as file:
            file.write(json.dumps(content, indent=1, ensure_ascii=True).encode() + b"\n")
    except OSError as error:
        raise RequestError(f"{path} cannot be written: {error.strerror}") from None
    return target


def load_chat(path: str) -> ChatSession:
    """Read a conversation.

    Raises:
        RequestError: the file cannot be read, or is not a conversation of a known version.
    """
    try:
        content = _read(os.path.expanduser(path))
    except OSError as error:
        raise RequestError(f"{path} cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError):
        raise RequestError(f"{path} is not JSON; expected a file written by /save") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise RequestError(f"{path} is not a saved conversation; expected a file written by /save")
    if content.get("version") != VERSION:
        raise RequestError(
            f"{path} has version {content.get('version')!r:.20}; this ossia reads version "
            f"{VERSION}: use the one that wrote it"
        )
    effort, instructions = content.get("effort"), content.get("instructions")
    turns = content.get("turns")
    if (
        (effort is not None and effort not in get_args(Effort))
        or not isinstance(instructions, str | None)
        or not isinstance(turns, list)
        or len(turns) > MAX_TURNS
        or not all(map(_is_turn, turns))
    ):
        raise RequestError(f"{path} was changed and no longer fits version {VERSION}")
    return ChatSession(
        effort=effort, instructions=instructions, turns=[ChatTurn(**one) for one in turns]
    )


def _read(path: str) -> Any:
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:  # never blocks on a pipe
        content = file.read(MAX_BYTES + 1)
    if content is None or len(content) > MAX_BYTES:
        raise ValueError("not a file of this kind")
    return json.loads(content)


def _is_turn(turn: object) -> bool:
    return (
        isinstance(turn, dict)
        and turn.keys() == _TURN_FIELDS.keys()
        and all(type(turn[name]) is kind for name, kind in _TURN_FIELDS.items())
    )
