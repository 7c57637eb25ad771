"""Safe output to terminals, which obey control characters that model text may contain."""

import errno
import os
import sys

TYPE_CHECKING = False  # typing itself takes as long to import as help to print
if TYPE_CHECKING:
    from typing import Self, TextIO

    from ossia.chat.events import Reply

_PICTURES = {code: chr(0x2400 + code) for code in range(0x20)}
_ALLOWED = {ord("\n"): "\n", ord("\t"): "\t", ord("\r"): None}
_UNSEEN = dict.fromkeys(
    (*range(0x80, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)), "\ufffd"
)
_HARMLESS = _PICTURES | {0x7F: "\u2421"} | _UNSEEN | _ALLOWED
"""C0 controls become their pictures; C1 and bidirectional controls become U+FFFD."""


def harmless(text: str) -> str:
    """Replace control characters, which could move the cursor or change colours and titles."""
    return text.translate(_HARMLESS)


def is_terminal(stream: "TextIO") -> bool:
    """Whether this stream is an open terminal."""
    return not stream.closed and stream.isatty()


def takes_styles(stream: "TextIO") -> bool:
    """Whether to write escape sequences to this stream; see https://no-color.org."""
    plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    return is_terminal(stream) and not plain


class Writer:
    """Writes and flushes text: made harmless for a terminal, exact for a file."""

    def __init__(self, stream: "TextIO") -> None:
        self.stream = stream
        self.is_terminal = is_terminal(stream)
        self.takes_styles = takes_styles(stream)
        self.at_line_start = True

    def write(self, text: str, *, dim: bool = False) -> None:
        """Write a piece of text; a dim piece also resets the style."""
        if not text:
            return
        self.at_line_start = text.endswith("\n")
        if self.is_terminal:
            text = harmless(text)
        if dim and self.takes_styles:
            text = f"\x1b[2m{text}\x1b[0m"
        self.stream.write(text)
        self.stream.flush()

    def end_line(self) -> None:
        """End the line unless the cursor is at its start."""
        if not self.at_line_start:
            self.write("\n")


class OutputGuard:
    """Exits quietly when the reader closes the pipe, and with one line when the disk is full."""

    def __enter__(self) -> "Self":
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            sys.stdout.flush()
        except OSError as late:
            error = late
        if isinstance(error, BrokenPipeError):
            _discard_output()
            raise SystemExit(0) from None
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            _discard_output()
            problem = "no space left where the output goes; free some, or write elsewhere"
            print(f"ossia: {problem}", file=sys.stderr)
            raise SystemExit(1) from None


def _discard_output() -> None:
    """Redirect stdout to null: buffered output must not fail again when Python exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


EMBEDDED = "nano"


def introduce(model: str) -> None:
    """Tell the user of the embedded model that it is tiny, and how to open a large one."""
    if model == EMBEDDED:
        say("nano is a tiny demonstration model; for gpt-oss-20b give its folder: -m FOLDER")


def cut_short(reply: "Reply", max_tokens: int | None) -> None:
    """Tell the user that an answer reached the token limit."""
    if reply.finish_reason == "length":
        limit = "--max-tokens" if max_tokens is not None else "--context-length"
        written = reply.usage.completion_tokens
        say(f"cut off after {written} tokens; raise {limit} for more")


def timings(reply: "Reply", load_seconds: float) -> None:
    """Print the time and speed of loading, prompt and answer."""
    usage, timing = reply.usage, reply.timing
    waited = timing.time_to_first_token
    read = usage.prompt_tokens - usage.cached_tokens
    rate = f" ({read / waited:.0f} tokens/s)" if waited > 0 else ""
    cached = f", {usage.cached_tokens} of them cached" if usage.cached_tokens else ""
    say(f"load    {load_seconds:.2f} s")
    say(f"prompt  {usage.prompt_tokens} tokens{cached}, first token after {waited:.2f} s{rate}")
    say(
        f"answer  {usage.completion_tokens} tokens, {usage.reasoning_tokens} of them thinking, "
        f"{timing.tokens_per_second:.1f} tokens/s; ended by {reply.finish_reason}"
    )


def say(line: str) -> None:
    """Print one line on stderr."""
    print(f"ossia: {harmless(line)}", file=sys.stderr, flush=True)


def as_bytes(count: int) -> str:
    """Format bytes with the unit that gives 1 to 999: 13.8 GB."""
    value, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 999.5:
            break
        value, unit = value / 1000, larger
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.3g} {unit}"


def as_count(count: int) -> str:
    """Format a large number by thousand, million or billion: 20.9 billion."""
    for size, name in ((10**9, "billion"), (10**6, "million"), (10**3, "thousand")):
        if count >= size:
            return f"{count / size:.3g} {name}"
    return str(count)


def as_table(rows: dict[str, str]) -> str:
    """Format one line for each row, with aligned values."""
    width = max(map(len, rows))
    return "\n".join(f"{name:{width}}  {value}" for name, value in rows.items())
