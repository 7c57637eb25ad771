"""The input of a response as GET input_items lists it: every item whole, with an id, in pages.

It knows OpenAI's items, already found to be well-formed; it knows no store.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from ossia.errors import RequestError
from ossia.server.responses.items import Item, kind_of
from ossia.server.responses.objects import Json
from ossia.server.responses.replayed import TOOL_ITEMS, action_of

_PREFIXES: Mapping[str, str] = {
    "message": "msg",
    "reasoning": "rs",
    "function_call": "fc",
    "function_call_output": "fco",
    "custom_tool_call": "ctc",
    "custom_tool_call_output": "ctco",
    "web_search_call": "ws",
    "code_interpreter_call": "ci",
    "mcp_call": "mcp",
    "mcp_approval_request": "mcpr",
    "mcp_approval_response": "mcpa",
}
_KEPT: Mapping[str, tuple[str, ...]] = {
    "reasoning": ("encrypted_content",),
    "function_call": ("call_id", "name", "arguments", "namespace"),
    "custom_tool_call": ("call_id", "name", "input", "namespace"),
    "function_call_output": ("call_id", "output"),
    "custom_tool_call_output": ("call_id", "output"),
    "mcp_approval_response": ("approval_request_id", "approve", "reason"),
}
_TEXTS: Mapping[str, tuple[str, ...]] = {
    "code_interpreter_call": ("code", "container_id"),
    "mcp_call": ("server_label", "name", "arguments", "output"),
    "mcp_approval_request": ("server_label", "name", "arguments"),
}
"""Of calls that ran here, or were to: fields that are kept where they are texts."""


def listed(items: Sequence[Item], new_id: Callable[[str], str]) -> list[Json]:
    """The items that were read, as they are listed.

    Args:
        items: of the input, in order; those that are skipped or only refer are left out.
        new_id: makes an id that begins with a prefix, for items without one.
    """
    return [_listed(item, kind, new_id) for item in items if (kind := kind_of(item)) in _PREFIXES]


def page(
    items: Sequence[Json], *, limit: int, order: Literal["asc", "desc"], after: str | None
) -> Json:
    """One page of a list, as OpenAI's clients turn them.

    Raises:
        RequestError: `after` is none of the items.
    """
    ordered = list(items) if order == "asc" else list(reversed(items))
    begin = 0
    if after is not None:
        places = [at for at, item in enumerate(ordered) if item["id"] == after]
        if not places:
            raise RequestError(
                f"after is {after!r:.80}, which is no item of this list; use the last_id of a page",
                param="after",
            )
        begin = places[0] + 1
    shown = ordered[begin : begin + limit]
    return {
        "object": "list",
        "data": shown,
        "first_id": shown[0]["id"] if shown else "",
        "last_id": shown[-1]["id"] if shown else "",
        "has_more": begin + limit < len(ordered),
    }


def _listed(item: Item, kind: str, new_id: Callable[[str], str]) -> Json:
    item_id = item.get("id")
    told: Json = {
        "id": item_id if isinstance(item_id, str) and item_id else new_id(_PREFIXES[kind]),
        "type": kind,
    }
    if kind == "message":
        return told | _message(item)
    if kind == "reasoning":
        content = item.get("content")
        text = [{"text": content}] if isinstance(content, str) else content
        told |= {"summary": []} if content is None else {"summary": [], "content": text}
    elif kind == "mcp_approval_request":
        return told | {
            key: value if isinstance(value := item.get(key), str) else "" for key in _TEXTS[kind]
        }
    elif kind != "mcp_approval_response":
        told["status"] = "completed"
    if kind in TOOL_ITEMS:
        return told | _ran(item, kind)
    told |= {key: item[key] for key in _KEPT[kind] if item.get(key) is not None}
    for key, part in (("content", "reasoning_text"), ("output", "input_text")):
        if isinstance(told.get(key), list):
            told[key] = [_part(each, part) for each in told[key]]
    return told


def _ran(item: Item, kind: str) -> Json:
    """A call that ran here, with what clients require of it."""
    if kind == "web_search_call":
        return {"action": action_of(item["action"])}
    told = {"container_id": "", "outputs": None} if kind == "code_interpreter_call" else {}
    return told | {key: item[key] for key in _TEXTS[kind] if isinstance(item.get(key), str)}


def _message(item: Item) -> Json:
    role = item["role"]
    told: Json = {"role": role, "status": "completed"}
    content = item["content"]
    if isinstance(content, str):
        content = [{"text": content}]
    if role == "assistant":
        phase = item.get("phase")
        spoken = {"phase": phase} if phase in ("commentary", "final_answer") else {}
        return {**told, **spoken, "content": [_spoken(part) for part in content]}
    return {**told, "content": [_part(part, "input_text") for part in content]}


def _spoken(part: Mapping[str, Any]) -> Json:
    if part.get("type") == "refusal":
        return {"type": "refusal", "refusal": part["refusal"]}
    return {**_part(part, "output_text"), "annotations": []}


def _part(part: Mapping[str, Any], kind: str) -> Json:
    return {"type": kind, "text": part["refusal" if part.get("type") == "refusal" else "text"]}
