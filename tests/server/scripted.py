"""An engine that plays a script: real events in a real order, without a model."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ossia.chat.events import (
    ArgumentsDelta,
    Event,
    Finished,
    PartFinished,
    PartStarted,
    PreambleDelta,
    ReasoningDelta,
    TextDelta,
    Timing,
    TokenLogprob,
    ToolCalled,
    ToolFinished,
    TurnEnd,
    Usage,
)
from ossia.chat.request import RawRequest, TurnRequest
from ossia.harmony.messages import Message
from ossia.providers.provider import ServedModel
from ossia.providers.tool_sessions import ToolSessions
from ossia.server.responses.objects import runs_here
from ossia.tools.sessions import LazyToolkit
from ossia.tools.tool import ToolResult, ToolSpec

USAGE = Usage(prompt_tokens=11, completion_tokens=7, reasoning_tokens=3, cached_tokens=5)


def served_model(**changes: Any) -> ServedModel:
    """A small model whose last ten ids are control ids."""
    model = ServedModel(
        name="nano",
        context_length=4096,
        max_running=8,
        vocab_size=100,
        control_ids=tuple(range(90, 100)),
        num_params=3_000_000,
        num_bytes=5_000_000,
        backend="CpuOps",
        fingerprint="fp_0123456789ab",
    )
    return replace(model, **changes)


def thought(*pieces: str, ids: tuple[int, ...] = (1, 2), is_whole: bool = True) -> list[Event]:
    return _part(
        "analysis", [ReasoningDelta(piece) for piece in pieces], ids=ids, is_whole=is_whole
    )


def preamble(*pieces: str, ids: tuple[int, ...] = (3,), is_whole: bool = True) -> list[Event]:
    return _part("preamble", [PreambleDelta(piece) for piece in pieces], ids=ids, is_whole=is_whole)


def answer(
    *pieces: str | tuple[str, tuple[TokenLogprob, ...]],
    ids: tuple[int, ...] = (4, 5),
    is_whole: bool = True,
) -> list[Event]:
    texts = [TextDelta(piece) if isinstance(piece, str) else TextDelta(*piece) for piece in pieces]
    return _part("final", texts, ids=ids, is_whole=is_whole)


def call(
    name: str,
    *pieces: str,
    call_id: str = "call_1",
    ids: tuple[int, ...] = (6, 7),
    is_whole: bool = True,
) -> list[Event]:
    events = _part(
        "call",
        [ArgumentsDelta(piece) for piece in pieces],
        ids=ids,
        is_whole=is_whole,
        call_id=call_id,
        name=name,
    )
    if is_whole:
        events.insert(-1, ToolCalled(call_id, name, "".join(pieces)))
    return events


def ran(
    name: str, *pieces: str, text: str = "Here.", fails: bool = False, **details: Any
) -> list[Event]:
    """A call of a tool of ours, and its result."""
    result = ToolResult(text=text, is_error=fails, details=details)
    run = ToolFinished("call_9", name, "".join(pieces), result, 0.5)
    return [*call(name, *pieces, call_id="call_9", ids=(8, 9)), run]


def finished(reason: TurnEnd = "stop", usage: Usage = USAGE) -> list[Event]:
    return [Finished(reason, usage, Timing())]


def _part(
    kind: Any,
    pieces: Sequence[Any],
    *,
    ids: tuple[int, ...],
    is_whole: bool,
    call_id: str = "",
    name: str = "",
) -> list[Event]:
    is_ours = runs_here(name, {})
    thinks = kind == "analysis" or name == "python" or name.startswith("browser.")
    message = Message(
        role="assistant",
        channel="analysis" if thinks else "final" if kind == "final" else "commentary",
        recipient=None if not name else name if is_ours else f"functions.{name}",
        content_type="json" if name else None,
        content="".join(piece.text for piece in pieces),
        sampled_ids=ids,
    )
    return [PartStarted(kind, call_id, name), *pieces, PartFinished(message, is_whole)]


@dataclass(frozen=True)
class Offering:
    """A toolkit that is told of; the scripts play what its tools would give."""

    specs: tuple[ToolSpec, ...]


def offering(*names: str) -> ToolSessions:
    """Open `ToolSessions` with tools of these names."""

    async def start() -> Any:
        specs = (ToolSpec(name=name, parameters={"type": "object"}) for name in names)
        return Offering(tuple(specs))

    tool_sessions = ToolSessions({"toolkit": LazyToolkit(start)})
    asyncio.run(tool_sessions.open())
    return tool_sessions


@dataclass(eq=False)
class ScriptedStream:
    """One turn of a script."""

    events: Sequence[Event | Exception]
    prompt_tokens: int = 11
    pause: float = 0.0
    """Seconds before each event."""
    is_closed: bool = False
    num_sent: int = 0

    async def __aiter__(self) -> AsyncIterator[Event]:
        for event in self.events:
            await asyncio.sleep(self.pause)
            if self.is_closed:
                return
            if isinstance(event, Exception):
                raise event
            self.num_sent += 1
            yield event

    def close(self) -> None:
        self.is_closed = True


@dataclass(eq=False)
class ScriptedEngine:
    """Plays one script after the other, the last one for ever; remembers what it was asked."""

    scripts: Sequence[Sequence[Event | Exception] | Exception] = ()
    model: ServedModel = field(default_factory=served_model)
    pause: float = 0.0
    requests: list[TurnRequest | RawRequest] = field(default_factory=list)
    streams: list[ScriptedStream] = field(default_factory=list)

    def play(self, scripts: Sequence[Sequence[Event | Exception] | Exception]) -> None:
        """Begin anew with other scripts."""
        self.scripts, self.requests, self.streams = scripts, [], []

    async def start(self, request: TurnRequest | RawRequest) -> ScriptedStream:
        script = self.scripts[min(len(self.requests), len(self.scripts) - 1)]
        self.requests.append(request)
        await asyncio.sleep(0)
        if isinstance(script, Exception):
            raise script
        stream = ScriptedStream(script, pause=self.pause)
        self.streams.append(stream)
        return stream


class EitherEngine(ScriptedEngine):
    """Answers a chat's turn or raw text, whichever is asked for."""

    async def start(self, request: TurnRequest | RawRequest) -> ScriptedStream:
        is_raw = isinstance(request, RawRequest)
        self.play(
            [
                [TextDelta("a"), *finished()]
                if is_raw
                else [*thought("h"), *answer("a"), *finished()]
            ]
        )
        return await super().start(request)


def pieces_of(text: str, size: int) -> Iterator[str]:
    """A text cut into pieces."""
    return (text[at : at + size] for at in range(0, len(text), size))
