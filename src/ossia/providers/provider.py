"""What the server knows of whoever writes a turn: turns are started, their events are read.

Knows no process, no pipe and no network.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from ossia.chat.events import Event
from ossia.chat.request import RawRequest, TurnRequest
from ossia.engine.engine import EngineLoad


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """What there is to know about the model that is served."""

    name: str
    """As it was asked for: nano, a folder, or a hub name."""
    context_length: int
    """Tokens of one request, prompt and answer."""
    max_running: int
    vocab_size: int
    control_ids: tuple[int, ...]
    """Ids that no caller may write or lean towards."""
    num_params: int
    num_bytes: int
    """Of the weights on disk."""
    backend: str
    fingerprint: str
    """Of weights, backend and version: answers with equal seeds may differ between two of them."""


class EventStream(Protocol):
    """The events of one turn."""

    @property
    def prompt_tokens(self) -> int:
        """Tokens of its prompt."""
        ...

    def __aiter__(self) -> AsyncIterator[Event]:
        """Events as they come; the last one is `Finished`.

        Raises:
            ProviderUnavailable: the engine died.
            TurnFailed: this turn went wrong.
        """
        ...

    def close(self) -> None:
        """Cancel what is left; closing twice does no harm."""
        ...


class TurnWriter(Protocol):
    """Writes turns; all that routes know."""

    @property
    def model(self) -> ServedModel:
        """The model that is served; raises ProviderUnavailable before it was first opened."""
        ...

    async def start(self, request: TurnRequest | RawRequest) -> EventStream:
        """Start a turn. To count a prompt's tokens, start it and close it.

        Raises:
            RequestError: the request has no meaning.
            ProviderBusy: too many wait already.
            ProviderUnavailable: nobody can write it now.
        """
        ...


State: TypeAlias = Literal["loading", "ready", "stuck", "restarting", "failed", "closed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderHealth:
    """Whether turns can be written now, and how busy those are who write them."""

    state: State
    phase: str = ""
    """Of loading."""
    share: float = 0.0
    """Of that phase, 0 to 1."""
    num_turns: int = 0
    """Turns that run or wait."""
    load: EngineLoad = EngineLoad(steps=0, running=0, waiting=0, cache_usage=0.0, preempted=0)


class Provider(TurnWriter, Protocol):
    """A `TurnWriter` and its life: what the server starts, watches and stops."""

    @property
    def health(self) -> ProviderHealth:
        """How it is now."""
        ...

    @property
    def notices(self) -> tuple[str, ...]:
        """For the operator, once it is open."""
        ...

    def open(self) -> None:
        """Start to load the model; `opened` waits for it."""
        ...

    async def opened(self) -> None:
        """Wait until turns can be written.

        Raises:
            OssiaError: the model cannot be opened.
        """
        ...

    async def close(self) -> None:
        """Stop; turns that run end with ProviderUnavailable."""
        ...

    def end_turns(self, reason: str) -> None:
        """End every turn that runs or waits with ProviderUnavailable."""
        ...
