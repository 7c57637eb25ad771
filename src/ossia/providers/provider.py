"""What the server knows of whoever writes a turn: turns are started, their events are read.

Knows no process, no pipe and no network.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from ossia.chat.events import Event
from ossia.chat.request import RawRequest, TurnRequest


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


class EngineClient(Protocol):
    """What routes know of the engine."""

    @property
    def model(self) -> ServedModel:
        """The model that is served; raises ProviderUnavailable before it was first opened."""
        ...

    async def start(self, request: TurnRequest | RawRequest) -> EventStream:
        """Begin a turn.

        Raises:
            RequestError: it has no meaning.
            ProviderBusy: too many wait already.
            ProviderUnavailable: there is no engine now.
        """
        ...
