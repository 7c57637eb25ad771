"""What runs inside the sandbox: one namespace, cells in, results out.

Imports nothing of this package: an interpreter that cannot see it gets this file as text. It is not
a security boundary.
"""

import ast
import asyncio
import base64
import builtins
import contextlib
import inspect
import io
import json
import linecache
import os
import resource
import signal
import stat
import struct
import sys
import traceback
import warnings
from types import CodeType, ModuleType, TracebackType
from typing import Any, BinaryIO

MAX_LISTED = 2000
MAX_FILES = 8
MAX_FILE_BYTES = 4 << 20
MAX_FILES_BYTES = 8 << 20

Seen = dict[str, tuple[int, int, int]]
"""Path of a file below the data folder -> inode, size, time of its last change."""


class Pipes:
    """The channel of cells and results: four bytes of length, then JSON."""

    def __init__(self) -> None:
        """Reserve stdin and stdout; redirect the output of cells to the pipe of stderr."""
        os.closerange(3, os.sysconf("SC_OPEN_MAX") if os.sysconf("SC_OPEN_MAX") > 0 else 65536)
        self._from: BinaryIO = os.fdopen(os.dup(0), "rb")
        self._to: BinaryIO = os.fdopen(os.dup(1), "wb")
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 0)
        os.dup2(2, 1)
        os.close(nothing)

    def read(self) -> dict[str, Any] | None:
        """Receive the next message; None at the end."""
        head = self._from.read(4)
        if len(head) < 4:
            return None
        found: dict[str, Any] = json.loads(self._from.read(struct.unpack(">I", head)[0]))
        return found

    def write(self, message: dict[str, Any]) -> None:
        """Send a message."""
        text = json.dumps(message).encode()
        self._to.write(struct.pack(">I", len(text)) + text)
        self._to.flush()


def settle(settings: dict[str, Any]) -> None:
    """Limit this process and its children; no limit can be raised again."""
    with contextlib.suppress(OSError):
        os.nice(settings["niceness"])
    bounds = {
        "CORE": 0,
        "AS": settings["address_bytes"],
        "NOFILE": settings["descriptors"],
        "FSIZE": settings["file_bytes"],
        "MEMLOCK": 0,
        "MSGQUEUE": 0,
        "CPU": settings["life_cpu_seconds"],
        "NPROC": settings["processes"],
    }
    for name, bound in bounds.items():
        kind = getattr(resource, f"RLIMIT_{name}", None)
        if kind is None or bound is None:
            continue
        hard = resource.getrlimit(kind)[1]
        value = bound if hard == resource.RLIM_INFINITY else min(bound, hard)
        if not (sys.platform == "darwin" and name == "AS"):  # refused there
            resource.setrlimit(kind, (value, value))


def tell_of_fonts() -> None:
    """Write the font configuration that plots need, since /etc is missing."""
    path = os.environ.get("FONTCONFIG_FILE")
    if path is not None:
        cache = f"{os.path.dirname(path)}/fonts"
        with contextlib.suppress(OSError), open(path, "w") as file:
            os.mkdir(cache)
            fonts = f"<dir>/usr/share/fonts</dir><cachedir>{cache}</cachedir>"
            file.write(f"<fontconfig>{fonts}</fontconfig>")


class Notebook:
    """One namespace, in which cells run one after the other."""

    def __init__(self, folder: str) -> None:
        """Start with an empty namespace.

        Args:
            folder: where the files of the user lie; the current folder.
        """
        self._folder = folder
        self._number = 0
        self._figures = 0
        self._main = ModuleType("__main__")
        sys.modules["__main__"] = self._main
        self.namespace = self._main.__dict__
        self.namespace["__builtins__"] = builtins
        self._loop: asyncio.AbstractEventLoop | None = None
        text = io.TextIOWrapper(
            io.FileIO(1, "w", closefd=False), "utf-8", "backslashreplace", write_through=True
        )
        self._text = sys.__stdout__ = sys.__stderr__ = text  # type: ignore[misc]

    def run(self, code: str) -> bool:
        """Run one cell and print what a notebook prints; returns whether it finished."""
        self._number += 1
        name = f"<cell {self._number}>"
        linecache.cache[name] = (len(code), None, code.splitlines(keepends=True), name)
        sys.stdout = sys.stderr = self._text
        try:
            for part in self._parts(code, name):
                self._show(self._value(part))
            return True
        except SystemExit as error:
            print(f"SystemExit: {error.code}" if error.code else "SystemExit")
            return error.code in (None, 0)
        except BaseException as error:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            self._tell(error)
            return False
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            self._save_figures()
            with contextlib.suppress(Exception):
                sys.stdout.flush()

    def _parts(self, code: str, name: str) -> list[CodeType]:
        """Split a cell into its statements and a last expression, if any."""
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        tree = compile(code, name, "exec", flags | ast.PyCF_ONLY_AST, dont_inherit=True)
        body, last = tree.body, None
        if body and isinstance(body[-1], ast.Expr) and not code.rstrip().endswith(";"):
            last = ast.Expression(body.pop().value)
        parts = [compile(tree, name, "exec", flags, dont_inherit=True)] if body else []
        if last is not None:
            parts.append(compile(last, name, "eval", flags, dont_inherit=True))
        return parts

    def _value(self, part: CodeType) -> Any:
        value = eval(part, self.namespace)
        if part.co_flags & inspect.CO_COROUTINE:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
            value = self._loop.run_until_complete(value)
        return value

    def _show(self, value: Any) -> None:
        if value is not None:
            self.namespace["_"] = value
            print(repr(value))

    def _tell(self, error: BaseException) -> None:
        """Format a traceback that starts in the cell."""
        try:
            sys.stdout = sys.stderr = self._text
            where: TracebackType | None = error.__traceback__
            while where is not None and not where.tb_frame.f_code.co_filename.startswith("<cell "):
                where = where.tb_next
            settings = traceback.TracebackException(type(error), error, where, compact=True)
            self._text.write("".join(settings.format()))
        except BaseException as second:  # no memory left to say more, or a hostile __str__
            self._text.write(f"{type(error).__name__} (and {type(second).__name__} telling it)\n")

    def _save_figures(self) -> None:
        """Save plots as files, since the model sees nothing else of them."""
        pyplot = sys.modules.get("matplotlib.pyplot")
        if pyplot is None:
            return
        try:
            for number in pyplot.get_fignums():
                self._figures += 1
                path = os.path.join(self._folder, f"figure-{self._figures}.png")
                pyplot.figure(number).savefig(path, bbox_inches="tight")
            pyplot.close("all")
        except Exception as error:
            self._tell(error)


def files_of(folder: str) -> Seen:
    """List every regular file below a folder, up to a limit, without following links."""
    found: Seen = {}
    waiting = [""]
    while waiting and len(found) < MAX_LISTED:
        inside = waiting.pop()
        with contextlib.suppress(OSError), os.scandir(os.path.join(folder, inside)) as entries:
            for entry in entries:
                name = os.path.join(inside, entry.name)
                about = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(about.st_mode):
                    waiting.append(name)
                elif stat.S_ISREG(about.st_mode):
                    found[name] = (about.st_ino, about.st_size, about.st_mtime_ns)
                if len(found) >= MAX_LISTED:
                    break
    return found


def changed(folder: str, before: Seen) -> list[dict[str, Any]]:
    """List new and changed files, the first few with their content."""
    room, count = MAX_FILES_BYTES, MAX_FILES
    files: list[dict[str, Any]] = []
    for name, seen in sorted(files_of(folder).items()):
        if before.get(name) != seen:
            content = None
            if count and seen[1] <= min(room, MAX_FILE_BYTES):
                content = content_of(folder, name)
            if content is not None:
                room, count = room - len(content), count - 1
            text = None if content is None else base64.b64encode(content).decode()
            shown = name.encode("utf-8", "replace").decode()
            files.append({"name": shown, "size": seen[1], "content": text})
    return files[:100]


def content_of(folder: str, name: str) -> bytes | None:
    """Open a regular file without following links anywhere in its path."""
    *inside, last = name.split("/")
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    opened = [os.open(folder, flags | os.O_DIRECTORY)]
    try:
        for part in inside:
            opened.append(os.open(part, flags | os.O_DIRECTORY, dir_fd=opened[-1]))
        opened.append(os.open(last, flags | os.O_NONBLOCK, dir_fd=opened[-1]))
        if not stat.S_ISREG(os.fstat(opened[-1]).st_mode):
            return None
        with os.fdopen(opened.pop(), "rb") as file:
            return file.read(MAX_FILE_BYTES)
    except OSError:
        return None
    finally:
        for descriptor in opened:
            os.close(descriptor)


def lead_home(folder: str) -> None:
    """Where no /mnt/data can be made, let the names that Python's own functions take lead there."""

    def led(path: Any) -> Any:
        if isinstance(path, (str, os.PathLike)):
            text = os.fspath(path)
            if isinstance(text, str) and (text == "/mnt/data" or text.startswith("/mnt/data/")):
                return folder + text[len("/mnt/data") :]
        return path

    def leading(function: Any) -> Any:
        def call(*paths: Any, **named: Any) -> Any:
            return function(*map(led, paths), **named)

        return call

    one = ("open", "stat", "lstat", "listdir", "scandir", "mkdir", "remove", "unlink", "rmdir")
    for name in (*one, "rename", "replace", "access", "chdir"):
        setattr(os, name, leading(getattr(os, name)))
    builtins.open = io.open = leading(io.open)


def reap() -> None:
    """Reap children that ended with their cell; zombies still count as processes."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def main() -> None:
    """Run cells until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pipes, me = Pipes(), os.getpid()
    settings = pipes.read()
    assert settings is not None
    settle(settings)
    folder = settings["folder"]
    os.chdir(folder)
    tell_of_fonts()
    if folder != "/mnt/data":
        lead_home(folder)
    sys.path[:] = [*settings["paths"], *(path for path in sys.path if path), folder]
    vars(builtins).update(exit=sys.exit, quit=sys.exit)  # as a notebook has them
    warnings.filterwarnings("ignore", message=".*non-interactive.*")
    notebook = Notebook(folder)
    pipes.write({"ready": me})
    while (cell := pipes.read()) is not None:
        reap()
        before = files_of(folder)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            finished = notebook.run(cell["code"])
        except KeyboardInterrupt:  # it came just behind the end of the cell
            finished = False
        if os.getpid() != me:  # a child that the cell left behind
            os._exit(0)
        files = changed(folder, before)
        pipes.write({"nonce": cell["nonce"], "finished": finished, "files": files})


if __name__ == "__main__":
    main()
