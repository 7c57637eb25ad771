"""Calls that were run here, as clients send them back: items -> calls with their results.

An item holds less than was said; it is what there is where the memory has lost the call.
"""

import json
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from ossia.errors import RequestError
from ossia.harmony.messages import Channel, Message
from ossia.server.api.history import HistoryMessage
from ossia.server.responses.objects import Json

LOST = "(what this call gave is no longer at hand)"
"""The result of a call, where nobody knows it any more."""

_Item = Mapping[str, Any]


def replayed(kind: str, item: _Item, path: str) -> HistoryMessage:
    """The call an item tells of.

    Args:
        kind: one of `TOOL_ITEMS`.
        item: as it was sent.
        path: of the item in the request.

    Raises:
        RequestError: a field is not what it should be.
    """
    return TOOL_ITEMS[kind](item, path)


def action_of(action: _Item) -> Json:
    """What a search did, as OpenAI's types have it, whatever was sent."""
    told = {key: value for key, value in action.items() if isinstance(value, str)}
    match told.get("type"):
        case "open_page":
            return {"type": "open_page", "url": told.get("url")}
        case "find_in_page":
            url, pattern = told.get("url", ""), told.get("pattern", "")
            return {"type": "find_in_page", "url": url, "pattern": pattern}
        case _:
            queries = action.get("queries")  # as others write it
            several = queries if isinstance(queries, list) else []
            texts = (text for text in several if isinstance(text, str))
            return {"type": "search", "query": told.get("query") or "; ".join(texts)}


def _search(item: _Item, path: str) -> HistoryMessage:
    action = item.get("action")
    if not isinstance(action, dict):
        raise RequestError(
            f"{path}.action is no object; send the item as it came", param=f"{path}.action"
        )
    match action_of(action):
        case {"type": "open_page", "url": url}:
            name, asked = "open", {} if url is None else {"id": url}
        case {"type": "find_in_page", "pattern": pattern}:
            name, asked = "find", {"pattern": pattern}
        case told:
            name, asked = "search", {"query": told["query"]}
    results = "\n".join(_texts(item.get("results"), "text"))
    sources = "\n".join(_texts(action.get("sources"), "url"))
    text = results or sources or LOST
    return _call(item, f"browser.{name}", json.dumps(asked), "analysis", text, "json")


def _python(item: _Item, path: str) -> HistoryMessage:
    code = item.get("code")
    logs = "\n".join(_texts(item.get("outputs"), "logs"))
    text = code if isinstance(code, str) else ""
    return _call(item, "python", text, "analysis", logs or LOST, "code")


def _mcp(item: _Item, path: str) -> HistoryMessage:
    for key in ("server_label", "name", "arguments"):
        if not isinstance(item.get(key), str):
            raise RequestError(
                f"{path}.{key} is no string; send the item as it came", param=f"{path}.{key}"
            )
    error, output = item.get("error"), item.get("output")
    if isinstance(error, dict):  # a text of an error, or the parts of a result that is one
        said = error.get("message") or "\n".join(_texts(error.get("content"), "text"))
        error = said if isinstance(said, str) else None
    text = next((each for each in (output, error) if isinstance(each, str) and each), LOST)
    recipient = f"{item['server_label']}.{item['name']}"
    try:
        return _call(item, recipient, item["arguments"], "commentary", text, "json")
    except RequestError:  # texts are never refused: it is the name
        raise RequestError(
            f"{path}.name is {recipient!r:.80}, which no tool is called; send the item as it came",
            param=f"{path}.name",
        ) from None


TOOL_ITEMS: Mapping[str, Callable[[_Item, str], HistoryMessage]] = MappingProxyType(
    {"web_search_call": _search, "code_interpreter_call": _python, "mcp_call": _mcp}
)
"""Type of item -> who reads it."""


def _call(
    item: _Item, recipient: str, body: str, channel: Channel, result: str, content_type: str
) -> HistoryMessage:
    item_id = item.get("id")
    message = Message(
        role="assistant",
        channel=channel,
        recipient=recipient,
        content_type=content_type,
        content=body,
    )
    return HistoryMessage(
        message=message,
        item_id=item_id if isinstance(item_id, str) and item_id else None,
        result=Message(role="tool", name=recipient, channel=channel, content=result),
    )


def _texts(parts: object, key: str) -> list[str]:
    """What parts of a list say; what is no such part says nothing."""
    if not isinstance(parts, list):
        return []
    found = (part.get(key) for part in parts if isinstance(part, dict))
    return [text for text in found if isinstance(text, str)]
