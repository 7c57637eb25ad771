"""The protocol of the pipe between server and engine: one JSON array per line.

No pickle: a line decodes to plain values only.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from pydantic import TypeAdapter

from ossia.chat.events import Event
from ossia.chat.request import RawRequest, TurnRequest
from ossia.engine.engine import EngineLoad
from ossia.engine.options import LoadOptions
from ossia.providers.provider import ServedModel


@dataclass(frozen=True, slots=True)
class StartTurn:
    """To the engine: run this turn."""

    id: int
    request: TurnRequest


@dataclass(frozen=True, slots=True)
class StartCompletion:
    """To the engine: complete this text."""

    id: int
    request: RawRequest


@dataclass(frozen=True, slots=True)
class Cancel:
    """To the engine: cancel this request."""

    id: int


@dataclass(frozen=True, slots=True)
class LoadProgress:
    """From the engine: progress of loading the model, 0 to 1."""

    phase: str
    share: float


@dataclass(frozen=True, slots=True)
class Ready:
    """From the engine: the model is loaded."""

    model: ServedModel
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LoadFailed:
    """From the engine: the model cannot be loaded; the process exits."""

    message: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """From the engine: a request is queued."""

    id: int
    prompt_tokens: int


@dataclass(frozen=True, slots=True)
class TurnRefused:
    """From the engine: a request is invalid."""

    id: int
    message: str
    param: str | None
    code: str


@dataclass(frozen=True, slots=True)
class Failed:
    """From the engine: a request failed with an internal error; the others go on."""

    id: int


@dataclass(frozen=True, slots=True)
class Forced:
    """From the engine: reasoning was ended early, and why."""

    id: int
    reason: Literal["budget", "loop", "length"]


@dataclass(frozen=True, slots=True)
class TurnEvent:
    """From the engine: an event of a turn."""

    id: int
    event: Event


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """From the engine, twice a second: its load."""

    load: EngineLoad


ToEngine: TypeAlias = LoadOptions | StartTurn | StartCompletion | Cancel
FromEngine: TypeAlias = (
    LoadProgress
    | Ready
    | LoadFailed
    | Accepted
    | TurnRefused
    | Failed
    | Forced
    | TurnEvent
    | Heartbeat
)

_EVENTS: Mapping[str, TypeAdapter[Any]] = {
    kind.__name__: TypeAdapter(kind) for kind in get_args(Event)
}
_FRAMES: Mapping[str, TypeAdapter[Any]] = {
    kind.__name__: TypeAdapter(kind)
    for kind in (
        LoadOptions, StartTurn, StartCompletion, Cancel, LoadProgress, Ready, LoadFailed, Accepted,
        TurnRefused, Failed, Forced, Heartbeat,
    )
}  # fmt: skip


def encode(frame: ToEngine | FromEngine) -> bytes:
    """Encode a frame as one line, newline included."""
    if isinstance(frame, TurnEvent):
        name = type(frame.event).__name__
        return b'["%s",%s,%d]\n' % (name.encode(), _EVENTS[name].dump_json(frame.event), frame.id)
    name = type(frame).__name__
    return b'["%s",%s]\n' % (name.encode(), _FRAMES[name].dump_json(frame))


def decode(line: bytes) -> ToEngine | FromEngine:
    """Decode one line.

    Raises:
        ValueError: the line is not a frame; the processes run different versions.
    """
    name, body, *request_id = json.loads(line)
    if request_id:
        return TurnEvent(request_id[0], _EVENTS[name].validate_python(body))
    found: ToEngine | FromEngine = _FRAMES[name].validate_python(body)
    return found
