"""A conversation as the person at the keyboard steers it: lines in, effects out.

Knows no terminal, no model and no file: chat.py carries the effects out.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from ossia.chat.events import Reply, Timing, Usage

Effort = Literal["low", "medium", "high"]

QUOTES = '"""'


@dataclass(frozen=True, slots=True)
class Say:
    """Tell the person something; no answer of the model."""

    text: str


@dataclass(frozen=True, slots=True)
class Ask:
    """Let the model answer the conversation, whose last turn waits for it."""


@dataclass(frozen=True, slots=True)
class Save:
    """Write the conversation to a file."""

    path: str


@dataclass(frozen=True, slots=True)
class Load:
    """Go on with the conversation in a file."""

    path: str


@dataclass(frozen=True, slots=True)
class ShowStats:
    """Tell tokens and speed; the size of the context is known elsewhere."""


@dataclass(frozen=True, slots=True)
class Leave:
    """End the program."""


Effect = Say | Ask | Save | Load | ShowStats | Leave


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What was asked, and as much of the answer as there is."""

    question: str
    answer: str = ""
    reasoning: str = ""
    is_whole: bool = False
    """False while it is awaited, and when it was stopped."""


@dataclass(slots=True)
class Session:
    """The state of one conversation and of how it is shown."""

    effort: Effort | None = None
    """None: what the library takes unless told."""
    instructions: str | None = None
    shows_thinking: bool = True
    turns: list[Turn] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)
    """Of all answers since the start."""
    timing: Timing = field(default_factory=Timing)
    """Of the last answer."""
    num_answers: int = 0
    _before: list[Turn] = field(default_factory=list)
    """The turns before the question that waits, should it be refused."""

    def enter(self, line: str) -> Effect:
        """Take in one message or command; changes the conversation, says what to do about it."""
        line = line.strip()
        name, _, rest = line.partition(" ")
        if line.startswith(QUOTES):
            return self._ask(line.removeprefix(QUOTES).removesuffix(QUOTES).strip())
        if not _looks_like_command(name):
            return self._ask(line)
        command = COMMANDS.get(ALIASES.get(name, name))
        if command is None:
            return Say(f"there is no command {name}; /help lists them")
        return command.obey(self, rest.strip())

    def messages(self) -> list[dict[str, Any]]:
        """The conversation as `LLM.stream` takes it."""
        said: list[dict[str, Any]] = []
        for turn in self.turns:
            said.append({"role": "user", "content": turn.question})
            if turn.answer:
                said.append({"role": "assistant", "content": turn.answer})
        return said

    def answered(self, reply: Reply, *, stopped: bool) -> None:
        """Keep what was said, also of an answer that was stopped."""
        self.turns[-1] = replace(
            self.turns[-1], answer=reply.text, reasoning=reply.analysis, is_whole=not stopped
        )
        self.num_answers += 1
        counts = {
            name: getattr(self.usage, name) + getattr(reply.usage, name) for name in Usage.__slots__
        }
        self.usage = Usage(**counts)
        if not stopped:
            self.timing = reply.timing

    def refused(self) -> None:
        """Go back to before a question that could not be asked."""
        self.turns = self._before

    def _ask(self, question: str) -> Effect:
        if not question:
            return Say("")
        return self._wait_for(question, self.turns)

    def _wait_for(self, question: str, said: list[Turn]) -> Effect:
        self._before, self.turns = self.turns, [*said, Turn(question=question)]
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
        return Say("no instructions from now on" if text == "none" else "noted, for every answer")

    def _think(self, how: str) -> Effect:
        if not how:
            last = self.turns[-1].reasoning if self.turns else ""
            return Say(last or "the last answer came without thinking")
        if how not in ("show", "hide"):
            return Say(f"/think {how}: expected /think show, /think hide, or /think alone")
        self.shows_thinking = how == "show"
        return Say(f"thinking is {'shown' if self.shows_thinking else 'hidden'} from now on")

    def _retry(self, rest: str) -> Effect:
        if not self.turns:
            return Say("nothing was asked yet")
        return self._wait_for(self.turns[-1].question, self.turns[:-1])

    def _undo(self, rest: str) -> Effect:
        if not self.turns:
            return Say("nothing was said yet")
        undone = self.turns.pop()
        return Say(f"forgot: {_short(undone.question)}")

    def _save(self, path: str) -> Effect:
        return Save(path) if path else Say("expected a file: /save FILE")

    def _load(self, path: str) -> Effect:
        return Load(path) if path else Say("expected a file: /load FILE")

    def _stats(self, rest: str) -> Effect:
        return ShowStats()

    def _clear(self, rest: str) -> Effect:
        self.turns.clear()
        return Say("a new conversation; effort and instructions stay")

    def _help(self, rest: str) -> Effect:
        width = max(len(each.usage) for each in COMMANDS.values())
        lines = [f"{each.usage:{width}}  {each.about}" for each in COMMANDS.values()]
        return Say("\n".join((*lines, "", *KEYS)))

    def _bye(self, rest: str) -> Effect:
        return Leave()


@dataclass(frozen=True, slots=True)
class Command:
    """One word that begins with a slash."""

    usage: str
    about: str
    obey: Callable[[Session, str], Effect]


COMMANDS = {
    "/effort": Command("/effort low|medium|high", "how long to think", Session._effort),
    "/system": Command(
        "/system TEXT", "instructions for every answer; none: drop", Session._system
    ),
    "/think": Command(
        "/think [show|hide]", "the last thinking; or unfold, fold it", Session._think
    ),
    "/retry": Command("/retry", "answer the last question again", Session._retry),
    "/undo": Command("/undo", "forget the last question and its answer", Session._undo),
    "/clear": Command("/clear", "begin a new conversation", Session._clear),
    "/save": Command("/save FILE", "keep the conversation in a file", Session._save),
    "/load": Command("/load FILE", "go on with a kept conversation", Session._load),
    "/stats": Command("/stats", "tokens, context and speed", Session._stats),
    "/help": Command("/help", "this list", Session._help),
    "/bye": Command("/bye", "leave", Session._bye),
}
ALIASES = {"/exit": "/bye", "/quit": "/bye", "/?": "/help"}
KEYS = (
    f"{QUOTES} begins and ends a message of several lines; a pasted text arrives whole.",
    "Ctrl-C stops an answer, Ctrl-D leaves, Ctrl-R searches what you typed before,",
    "Ctrl-G opens your editor, Alt-Enter begins a new line.",
)


class Lines:
    """Gathers lines into messages: from an opening to a closing triple quote it is one."""

    def __init__(self) -> None:
        self._open: list[str] = []

    def push(self, line: str) -> str | None:
        """Take one line; the whole message when it is complete."""
        self._open.append(line)
        text = "\n".join(self._open)
        if is_open(text):
            return None
        self._open.clear()
        return text

    def close(self) -> str | None:
        """What is left when the lines end, if anything."""
        text, self._open = "\n".join(self._open), []
        return text or None


def is_open(text: str) -> bool:
    """Whether a triple quote was opened and not closed: the message goes on."""
    text = text.strip()
    return text.startswith(QUOTES) and not (text.endswith(QUOTES) and len(text) >= 2 * len(QUOTES))


def _looks_like_command(word: str) -> bool:
    """A slash and one plain word: a path such as /etc/hosts is no command."""
    return word == "/?" or (word.startswith("/") and word[1:].isascii() and word[1:].isalpha())


def _short(text: str, limit: int = 60) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[: limit - 3]}..."
