"""The process that starts interpreters: small, without secrets, ends with its owner.

Started by `launcher_client` before the model is loaded; speaks frames over its stdin, a socket.
"""

import contextlib
import os
import secrets
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ossia.tools.python.interpreter import Interpreter
from ossia.tools.python.other_user import hidden, shown, users
from ossia.tools.python.sandboxes import Limits, SandboxSpec
from ossia.tools.python.wire import Frames, frame

LOOK_SECONDS = 0.2
MAX_USERS = 64


class Launcher:
    """The interpreters of one owner, and the loop that reads, monitors and ends them."""

    def __init__(
        self, owner: socket.socket, settings: dict[str, Any], folder: Path, view: Path
    ) -> None:
        """Prepare folders and users.

        Args:
            owner: commands come in and happenings go out here.
            settings: the owner's first message: sandbox, python, limits.
            folder: empty, ours; gone at the end.
            view: another, for mounts alone.

        Raises:
            OSError: root cannot show other users what they need.
        """
        self._owner, self._settings, self._folder = owner, settings, folder
        self._selector = selectors.DefaultSelector()
        self._frames, self._unsent = Frames(), bytearray()
        self._interpreters: dict[str, Interpreter] = {}
        self._users: list[int] = []
        self._folders = {path: path for path in settings["folders"]}
        if os.getuid() == 0 and settings["sandbox"] != "container":
            self._users = users(MAX_USERS)
            folder.chmod(0o711)
            self._folders = shown(settings["folders"], view)
        self._is_open = True
        owner.setblocking(False)
        self._selector.register(owner, selectors.EVENT_READ, self._read)

    def run(self) -> None:
        """Serve until the owner ends."""
        looked = 0.0
        while self._is_open:
            busy = any(each.is_running for each in self._interpreters.values())
            for key, _ in self._selector.select(LOOK_SECONDS if busy else None):
                if self._selector.get_map().get(key.fileobj) is key:  # not closed just now
                    with contextlib.suppress(BlockingIOError):
                        key.data()
            if time.monotonic() - looked >= LOOK_SECONDS:
                for interpreter in list(self._interpreters.values()):
                    interpreter.look()
                looked = time.monotonic()
        for interpreter in list(self._interpreters.values()):
            interpreter.end()

    def _read(self) -> None:
        try:
            more = self._owner.recv(1 << 16)
        except ConnectionError:
            more = b""
        if not more:
            self._is_open = False
        for message in self._frames.push(more):
            self._obey(message)

    def _obey(self, message: dict[str, Any]) -> None:
        name = message["id"]
        interpreter = self._interpreters.get(name)
        match message["do"]:
            case "open":
                self._open(name)
            case "run" if interpreter is not None:
                interpreter.run(message["code"], message["seconds"])
            case "interrupt" if interpreter is not None:
                interpreter.interrupt("cancelled")
            case "close" if interpreter is not None:
                interpreter.end()
            case "run":
                self._tell(name, {"was": "gone", "text": "", "status": None})

    def _open(self, name: str) -> None:
        scratch = Path(tempfile.mkdtemp(dir=self._folder))
        user = self._users.pop(0) if self._users else None
        if user is not None:
            os.chown(scratch, user, user)
        spec = SandboxSpec(
            executable=self._settings["executable"],
            folders=self._folders,
            packages=tuple(self._settings["packages"]),
            scratch=scratch,
            user=user,
            limits=Limits(**self._settings["limits"]),
            container=tuple(self._settings["container"]),
            name=f"ossia-{secrets.token_hex(8)}",
        )

        def tell(message: dict[str, Any]) -> None:
            if not message.get("is_alive", message["was"] == "opened"):
                self._interpreters.pop(name, None)
                if user is not None:
                    self._users.append(user)
            self._tell(name, message)

        try:
            sandbox = self._settings["sandbox"]
            self._interpreters[name] = Interpreter(sandbox, spec, self._selector, tell)
        except (OSError, subprocess.SubprocessError) as error:
            shutil.rmtree(scratch, ignore_errors=True)
            tell({"was": "gone", "text": f"it cannot be started: {error}", "status": None})

    def _tell(self, name: str, message: dict[str, Any]) -> None:
        self._unsent += frame({"id": name, **message})
        self._write()

    def _write(self) -> None:
        try:
            while self._unsent:
                del self._unsent[: self._owner.send(self._unsent[: 1 << 16])]
        except BlockingIOError:
            pass
        except ConnectionError:
            self._is_open = False
            return
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._unsent else 0)
        self._selector.modify(self._owner, events, self._step)

    def _step(self) -> None:
        if self._unsent:
            self._write()
        with contextlib.suppress(BlockingIOError):
            self._read()


def main() -> None:
    """Serve the owner on the other end of stdin."""
    os.umask(0o077)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    owner = socket.socket(fileno=os.dup(0))
    head = owner.recv(4, socket.MSG_WAITALL)
    settings = Frames().push(head + owner.recv(int.from_bytes(head, "big"), socket.MSG_WAITALL))[0]
    folder = Path(tempfile.mkdtemp(prefix="ossia-python-"))
    view = Path(tempfile.mkdtemp(prefix="ossia-python-view-"))
    view.chmod(0o755)
    try:
        launcher = Launcher(owner, settings, folder, view)
    except OSError as error:
        owner.sendall(frame({"id": "", "was": "refused", "text": str(error)}))
        sys.exit(1)
    else:
        owner.sendall(frame({"id": "", "was": "started"}))
        launcher.run()
    finally:
        hidden(view)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
