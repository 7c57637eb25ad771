"""The services of the routes, created once when the server starts."""

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
    """The operator's options of the API."""

    raw_reasoning: bool = True
    """Whether callers may see the model's reasoning."""
    allow_control_ids: bool = False
    """Whether a raw prompt may contain control tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The services that every route may use."""

    provider: TurnWriter
    responses: Responses
    memory: "ExactTokens"
    metrics: Metrics
    options: ServeOptions = ServeOptions()
    tool_sessions: ToolSessions = field(default_factory=lambda: ToolSessions({}))
    """The built-in tools."""
    drain: Drain = field(default_factory=Drain)
    """Counts background turns; shutdown waits for them."""
    clock: Callable[[], float] = time.time
    """Seconds since 1970, for `created_at`."""
