"""A tool that was run, as a few lines: its name, what it was called with, what it gave."""

from ossia.chat.events import ToolFinished
from ossia.cli.given_files import GivenFiles
from ossia.cli.terminal.terminal import harmless

MAX_LINES = 12
MAX_COLUMNS = 200


def card(ran: ToolFinished, files: GivenFiles) -> str:
    """Lines for a terminal, each ended; long texts are cut in the middle.

    Args:
        ran: the call.
        files: takes what it gave; so ask for a card once.
    """
    outcome = "failed" if ran.result.is_error else "ran"
    lines = [f"[{ran.name} {outcome}, {ran.seconds:.2f} s]"]
    lines += [f"  > {line}" for line in _cut(ran.arguments)]
    lines += [f"  {line}" for line in _cut(ran.result.text)]
    lines += [f"  + {harmless(files.told(each))}" for each in ran.result.attachments]
    return "".join(f"{line}\n" for line in lines)


def _cut(text: str) -> list[str]:
    lines = [harmless(line)[:MAX_COLUMNS] for line in text.splitlines()]
    if len(lines) <= MAX_LINES:
        return lines
    left_out = len(lines) - MAX_LINES + 1
    return [*lines[: MAX_LINES - 4], f"... {left_out} lines ...", *lines[-3:]]
