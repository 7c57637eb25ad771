"""The conversation at a real terminal: a pseudo-terminal of the system, and what it shows."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from contextlib import contextmanager

import pytest

from ossia.cli.terminal.session import load_chat

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

PROMPT = "| effort"
"""In the toolbar, which is drawn again with every prompt."""
WHERE = "\x1b[6n"
"""How a program asks a terminal for the place of its cursor."""


class Terminal:
    """Types keys and reads the screen as a stream of characters."""

    def __init__(self, descriptor):
        self._descriptor = descriptor
        self.seen = ""

    def type(self, keys):
        os.write(self._descriptor, keys.encode())

    def wait_for(self, text, seconds=60):
        """Read until `text` has come; give all that came up to it."""
        end = time.monotonic() + seconds
        while text not in self.seen:
            ready, _, _ = select.select([self._descriptor], [], [], max(0, end - time.monotonic()))
            assert ready, f"{text!r} did not come in {seconds} s; seen: {self.seen[-2000:]!r}"
            came = os.read(self._descriptor, 65536).decode(errors="replace")
            if WHERE in came:
                os.write(self._descriptor, b"\x1b[5;1R")  # row 5, column 1
            self.seen += came
        before, _, self.seen = self.seen.partition(text)
        return before


@contextmanager
def at_terminal(*args):
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, 100, 0, 0))
    command = [sys.executable, "-m", "ossia", "chat", *map(str, args)]
    environment = os.environ | {"TERM": "xterm"}
    how = {"stdin": theirs, "stdout": theirs, "stderr": theirs, "start_new_session": True}
    process = subprocess.Popen(command, env=environment, **how)
    os.close(theirs)
    try:
        yield Terminal(ours), process
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def interrupt(process):
    """What the terminal driver does at Ctrl-C while a program computes."""
    os.kill(process.pid, signal.SIGINT)


def test_ctrl_c_stops_the_answer_and_keeps_the_session(endless_folder, saved, home):
    with at_terminal("-m", endless_folder, "--temperature", 0) as (terminal, process):
        terminal.wait_for(PROMPT)
        terminal.type("hello there\r")
        terminal.wait_for("\x1b[2m", 60)  # the first dim word of its thinking
        terminal.wait_for("\u2400")  # its words, made harmless
        interrupt(process)
        terminal.wait_for("stopped; /retry answers again")
        terminal.wait_for(PROMPT)
        terminal.type(f"/save {saved}\r")
        terminal.wait_for("saved in")
        terminal.wait_for(PROMPT)
        terminal.type("\x04")
        assert process.wait(timeout=30) == 0
    (turn,) = load_chat(str(saved)).turns
    assert turn.question == "hello there"
    assert set(turn.reasoning) == {"\0"}
    assert not turn.is_whole
    history = home / "state" / "chat-history"
    assert "+hello there" in history.read_text()


def test_several_lines_a_finished_answer_and_folded_thinking(folder, saved):
    options = ("--max-tokens", 40, "--seed", 3, "--context-length", "2k")
    with at_terminal("-m", folder, *options) as (terminal, process):
        terminal.wait_for("context 0 of 2,048")
        terminal.type("/think hide\r")
        terminal.wait_for("hidden from now on")
        terminal.wait_for(PROMPT)
        terminal.type('"""one\rtwo"""\r')
        shown = terminal.wait_for("cut off after 40 tokens")
        assert "thought for" in shown
        used = terminal.wait_for("of 2,048")
        assert int(re.search(r"context (\d+) $", used)[1]) > 50
        terminal.type("\x03")
        terminal.wait_for("Ctrl-D leaves")
        terminal.type(f"/save {saved}\r")
        terminal.wait_for("saved in")
        terminal.type("/bye\r")
        assert process.wait(timeout=30) == 0
    (turn,) = load_chat(str(saved)).turns
    assert turn.question == "one\ntwo"
