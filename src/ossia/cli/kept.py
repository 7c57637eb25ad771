"""Conversations kept in files: JSON with a version, written whole or not at all, read with care."""

import json
import os
from pathlib import Path
from typing import Any, get_args

from ossia.cli.terminal.session import Effort, Session, Turn
from ossia.errors import RequestError
from ossia.files import atomic_write

FORMAT, VERSION = "ossia-conversation", 1
MAX_BYTES = 64 << 20
MAX_TURNS = 5_000
_TURN = {"question": str, "answer": str, "reasoning": str, "is_whole": bool}


def save(session: Session, path: str, model: str) -> Path:
    """Write a conversation, readable by its owner alone; replaces one that was kept there.

    Raises:
        RequestError: something else is there, or it cannot be written.
    """
    if "\0" in path:
        raise RequestError("no file has NUL in its name; give another name")
    target = Path(os.path.realpath(os.path.expanduser(path)))
    if os.path.lexists(target):
        try:
            load(path)
        except RequestError:
            raise RequestError(
                f"{path} exists and is no kept conversation; give another name"
            ) from None
    content = {
        "format": FORMAT,
        "version": VERSION,
        "model": model,
        "effort": session.effort,
        "instructions": session.instructions,
        "turns": [{name: getattr(turn, name) for name in _TURN} for turn in session.turns],
    }
    try:
        with atomic_write(target) as file:
            file.write(json.dumps(content, indent=1, ensure_ascii=True).encode() + b"\n")
    except OSError as error:
        raise RequestError(f"{path} cannot be written: {error.strerror}") from None
    return target


def load(path: str) -> Session:
    """Read a conversation.

    Raises:
        RequestError: the file cannot be read, or is no conversation of a version known here.
    """
    try:
        content = _read(os.path.expanduser(path))
    except OSError as error:
        raise RequestError(f"{path} cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError):
        raise RequestError(f"{path} is no JSON; expected a file written by /save") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise RequestError(f"{path} is no kept conversation; expected a file written by /save")
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
    return Session(effort=effort, instructions=instructions, turns=[Turn(**one) for one in turns])


def _read(path: str) -> Any:
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:  # never waits for a pipe
        content = file.read(MAX_BYTES + 1)
    if content is None or len(content) > MAX_BYTES:
        raise ValueError("not a file of this kind")
    return json.loads(content)


def _is_turn(turn: object) -> bool:
    return (
        isinstance(turn, dict)
        and turn.keys() == _TURN.keys()
        and all(type(turn[name]) is kind for name, kind in _TURN.items())
    )
