"""Which class writes the item of a part. A new kind of item is a new class and its line here."""

from collections.abc import Mapping
from types import MappingProxyType

from ossia.chat.events import PartStarted
from ossia.server.responses.objects import ResponseSettings, tool_kind
from ossia.server.responses.output_items import (
    AnswerItem,
    CustomCallItem,
    FunctionCallItem,
    OutputItem,
    PreambleItem,
    ReasoningItem,
)
from ossia.server.responses.tool_items import CodeItem, McpCallItem, WebSearchItem

ITEMS: Mapping[str, type[OutputItem]] = MappingProxyType(
    {
        "analysis": ReasoningItem,
        "preamble": PreambleItem,
        "final": AnswerItem,
        "function": FunctionCallItem,
        "custom": CustomCallItem,
        "browser": WebSearchItem,
        "python": CodeItem,
        "mcp": McpCallItem,
    }
)
"""Kind of a part, for a call the kind of its tool -> what its item is written by."""


def item_class(part: PartStarted, settings: ResponseSettings) -> type[OutputItem]:
    """Who writes a part; one of an unknown kind is shown as thought, never as answer."""
    if part.kind == "call":
        return ITEMS[tool_kind(part.name, settings.kinds)]
    return ITEMS.get(part.kind, ReasoningItem)
