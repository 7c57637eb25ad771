"""Draw the README's pictures: what `ossia run` shows in a terminal, answered by the embedded model.

`python docs/pictures.py` runs each command below in a terminal of its own and writes an SVG beside.
"""

import io
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

FOLDER = Path(__file__).parent / "pictures"
WIDTH = 84
COMMANDS = {
    "answer": ["run", "What is 37 + 48?"],
    "tool-call": ["run", "--tool", "python", "Use python: 12345 * 6789"],
}
REMOTE_FONT = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)
"""rich's SVG names a font on another host; a reader's own monospace does as well."""


def shown(arguments: list[str]) -> str:
    """Run ossia in a pseudo-terminal; return all it wrote, escape codes included."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "ossia", *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "COLUMNS": str(WIDTH), "TERM": "xterm-256color"},
    )
    os.close(theirs)
    written = bytearray()
    try:
        while chunk := os.read(ours, 65536):
            written += chunk
    except OSError:  # Linux ends a terminal without writers so
        pass
    if process.wait():
        raise SystemExit(f"ossia {' '.join(arguments)} ended with {process.returncode}")
    return written.decode().replace("\r\n", "\n")


def picture(arguments: list[str], text: str) -> str:
    """Draw a command and what it showed, as SVG."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    words = [f'"{each}"' if " " in each else each for each in arguments]
    console.print(Text(f"$ ossia {' '.join(words)}", style="bold"))
    console.print(Text.from_ansi(text.strip()))
    svg = console.export_svg(title="ossia", theme=MONOKAI, unique_id="ossia")
    return REMOTE_FONT.sub("", svg).replace("Fira Code, monospace", "monospace")


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, arguments in COMMANDS.items():
        (FOLDER / f"{name}.svg").write_text(picture(arguments, shown(arguments)))
        print(f"docs/pictures/{name}.svg")
