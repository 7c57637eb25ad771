"""The protocols of a provider: start a turn, read its events.

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
    """The served model's properties."""

    name: str
    """As the operator wrote it: nano, a folder, or a hub name."""
    context_length: int
    """Tokens of one request, prompt and answer together."""
    max_running: int
    vocab_size: int
    control_ids: tuple[int, ...]
    """Ids that no prompt may contain and no `logit_bias` may raise."""
    num_params: int
    num_bytes: int
    """Size of the weights on disk."""
    backend: str
    fingerprint: str
    """OpenAI's `system_fingerprint`: identifies weights, backend and version."""


class EventStream(Protocol):
    """The events of one turn."""

    @property
    def prompt_tokens(self) -> int:
        """Number of tokens of the prompt."""
        ...

    def __aiter__(self) -> AsyncIterator[Event]:
        """Iterate over the events; the last one is `Finished`.

        Raises:
            ProviderUnavailable: the engine died.
            TurnFailed: this turn failed; others go on.
        """
        ...

    def close(self) -> None:
        """Cancel the rest of the turn; idempotent."""
        ...


class TurnWriter(Protocol):
    """Runs turns; the only interface that routes use."""

    @property
    def model(self) -> ServedModel:
        """The served model; raises ProviderUnavailable until it is loaded."""
        ...

    async def start(self, request: TurnRequest | RawRequest) -> EventStream:
        """Start a turn. To count a prompt's tokens, start it and close it.

        Raises:
            RequestError: the request is invalid.
            ProviderBusy: the queue is full.
            ProviderUnavailable: the engine is not running.
        """
        ...


State: TypeAlias = Literal["loading", "ready", "stuck", "restarting", "failed", "closed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderHealth:
    """A provider's state and load."""

    state: State
    phase: str = ""
    """Current phase of loading the model."""
    share: float = 0.0
    """Progress of that phase, 0 to 1."""
    num_turns: int = 0
    """Number of running and waiting turns."""
    load: EngineLoad = EngineLoad(steps=0, running=0, waiting=0, cache_usage=0.0, preempted=0)


class Provider(TurnWriter, Protocol):
    """A `TurnWriter` with a lifecycle, which the server controls."""

    @property
    def health(self) -> ProviderHealth:
        """The current state and load."""
        ...

    @property
    def notices(self) -> tuple[str, ...]:
        """Notices to the operator from loading the model."""
        ...

    def open(self) -> None:
        """Start loading the model; `opened` waits until it is loaded."""
        ...

    async def opened(self) -> None:
        """Wait until the model is loaded.

        Raises:
            OssiaError: the model cannot be loaded.
        """
        ...

    async def close(self) -> None:
        """Stop the provider; running turns end with ProviderUnavailable."""
        ...

    def end_turns(self, reason: str) -> None:
        """End every running and waiting turn with ProviderUnavailable."""
        ...
