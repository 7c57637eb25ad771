"""What the routes work with, put together once when the server starts. Knows no route."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ossia.providers.metrics import Metrics
from ossia.providers.provider import TurnWriter
from ossia.providers.tool_sessions import ToolSessions
from ossia.server.http.drain import Drain
from ossia.store.responses import Responses

if TYPE_CHECKING:
    from ossia.server.api.exact_tokens import ExactTokens


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """What the operator chooses about the API."""

    raw_reasoning: bool = True
    """Whether callers may see the model's reasoning."""
    allow_control_ids: bool = False
    """Whether a raw prompt may hold control tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Given to every room of routes."""

    provider: TurnWriter
    responses: Responses
    memory: "ExactTokens"
    metrics: Metrics
    options: ServeOptions = ServeOptions()
    tool_sessions: ToolSessions = field(default_factory=lambda: ToolSessions({}))
    """What the model may call here."""
    drain: Drain = field(default_factory=Drain)
    """Counts what is written for nobody's connection; the server waits for it when it ends."""
    clock: Callable[[], float] = time.time
    """Seconds since 1970: what `created_at` tells."""
