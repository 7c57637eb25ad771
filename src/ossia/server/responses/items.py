"""Translates the input items of a request to a history.

Knows OpenAI's items, not the store: callers pass earlier calls and items.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

from ossia.errors import RequestError
from ossia.harmony.messages import FUNCTIONS, Channel, Message, Role
from ossia.server.api.errors import NotFound
from ossia.server.api.fields import MAX_PARTS
from ossia.server.api.history import HistoryMessage
from ossia.server.api.tools import joined
from ossia.server.responses.objects import Json

Item = Mapping[str, Any]

SKIPPED = frozenset(
    (
        *("file_search_call", "image_generation_call"),
        *("computer_call", "computer_call_output", "tool_search_call", "tool_search_output"),
        *("local_shell_call", "local_shell_call_output", "shell_call", "shell_call_output"),
        *("apply_patch_call", "apply_patch_call_output"),
        *("compaction", "compaction_trigger"),
        *("additional_tools", "configuration_update", "program", "program_output"),
    )
)
"""Ignored types; a response header lists them."""

LOST = "(what this call gave is no longer at hand)"
"""Substitute for a result that is no longer stored."""
TOOL_ITEMS = ("web_search_call", "code_interpreter_call", "mcp_call")
"""Calls of built-in tools. Their items, which omit details, are used if the call is not stored."""
REQUEST_PREFIX = "mcpr"
"""Prefix of the ids of approval requests; it identifies references to them."""

_OUTPUTS = ("function_call_output", "custom_tool_call_output")
_TEXT_PARTS = ("input_text", "output_text", "text", "reasoning_text")
_ROLES = ("user", "assistant", "system", "developer")


@dataclass(frozen=True, slots=True, kw_only=True)
class References:
    """Earlier calls and items that the input may refer to."""

    recipients: Mapping[str, str] = field(default_factory=dict)
    """Recipients of calls in earlier responses, by call id."""
    calls: Mapping[str, HistoryMessage] = field(default_factory=dict)
    """Stored calls that the input does not repeat, by call id."""
    items: Mapping[str, HistoryMessage] = field(default_factory=dict)
    """Stored items that the input refers to, by item id."""
    waiting: HistoryMessage | None = None
    """The call that the input approves or denies; it takes the place of its approval request.

    Other approval requests are history: other items have their outcome.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedInput:
    """A parsed input."""

    history: tuple[HistoryMessage, ...]
    ignored: tuple[str, ...] = ()
    """Paths of ignored items."""


def lost_calls(items: Sequence[Item]) -> list[str]:
    """Return the ids of calls that have an output but no item."""
    named = [(item, call_id) for item in items if isinstance(call_id := item.get("call_id"), str)]
    made = {call_id for item, call_id in named if not _is_output(item)}
    answered = dict.fromkeys(call_id for item, call_id in named if _is_output(item))
    return [call_id for call_id in answered if call_id not in made]


def references(items: Sequence[Item]) -> list[str]:
    """Return the ids of referenced items."""
    found = (item.get("id") for item in items if kind_of(item) == "item_reference")
    return list(dict.fromkeys(item_id for item_id in found if isinstance(item_id, str)))


def read_items(items: Sequence[Item], before: References) -> ParsedInput:
    """Translate the items of an input.

    Raises:
        RequestError: an item is invalid; `param` is the path of the invalid field.
        NotFound: a referenced item does not exist.
    """
    reader = _ItemReader(before)
    ignored = []
    for at, item in enumerate(items):
        path = f"input[{at}]"
        kind = kind_of(item)
        if isinstance(kind, str) and kind in SKIPPED:
            ignored.append(path)
        elif isinstance(kind, str) and kind in INPUT_ITEMS:
            reader.read(kind, item, path)
        else:
            raise RequestError(
                f"{path}.type is {kind!r:.40}, which is not a type of item; expected one of "
                f"{', '.join(sorted(INPUT_ITEMS))}",
                param=f"{path}.type",
            )
    return ParsedInput(history=tuple(reader.history), ignored=(*ignored, *reader.ignored))


class _ItemReader:
    """Reads items in order and records the calls."""

    def __init__(self, before: References) -> None:
        self.history: list[HistoryMessage] = []
        self.ignored: list[str] = []
        self._before = before
        self._recipients = dict(before.recipients)
        self._waiting = before.waiting

    def read(self, kind: str, item: Item, path: str) -> None:
        """Read an item of a type in `INPUT_ITEMS`."""
        reader = INPUT_ITEMS[kind].reader
        if reader is not None:
            self.history.extend(reader(self, item, path))

    def message(self, item: Item, path: str) -> Iterator[HistoryMessage]:
        """A message of a user, a developer or the model."""
        role = item.get("role")
        if role not in _ROLES:
            raise RequestError(
                f"{path}.role is {role!r:.40}; expected one of {', '.join(_ROLES)}",
                param=f"{path}.role",
            )
        text = _content(item.get("content"), f"{path}.content")
        if role != "assistant":
            spoken: Role = "user" if role == "user" else "developer"
            yield HistoryMessage(message=Message(role=spoken, content=text))
        elif text:  # some clients send an empty one with calls
            channel: Channel = "commentary" if item.get("phase") == "commentary" else "final"
            message = Message(role="assistant", channel=channel, content=text)
            yield HistoryMessage(message=message, item_id=_identity(item))

    def reasoning(self, item: Item, path: str) -> Iterator[HistoryMessage]:
        """Reasoning, as text or as `encrypted_content`."""
        encrypted, content = item.get("encrypted_content"), item.get("content")
        text = "" if content is None else _content(content, f"{path}.content")
        if isinstance(encrypted, str) or text or _identity(item):
            message = Message(role="assistant", channel="analysis", content=text)
            yield HistoryMessage(
                message=message,
                item_id=_identity(item),
                encrypted_content=encrypted if isinstance(encrypted, str) else None,
            )
        else:
            self.ignored.append(path)

    def item_reference(self, item: Item, path: str) -> Iterator[HistoryMessage]:
        """A reference to a stored item."""
        item_id = item.get("id")
        known = self._before.items.get(item_id) if isinstance(item_id, str) else None
        if known is None:
            raise NotFound(
                f"there is no item {item_id!r:.80}; send the item itself",
                code="item_not_found",
                param=f"{path}.id",
            )
        if requested(item):
            yield from self.approval_request(item, path)
            return
        if known.call_id and known.message.recipient:
            self._recipients[known.call_id] = known.message.recipient
        yield known

    def approval_request(self, item: Item, path: str) -> Iterator[HistoryMessage]:
        """An approval request: the stored call counts, not the item sent."""
        if self._waiting is not None and self._waiting.item_id == item.get("id"):
            yield self._waiting
            self._waiting = None

    def function_call(self, item: Item, path: str) -> Iterator[HistoryMessage]:
        """A function call of the model."""
        yield self._call(item, path, "arguments", "json")

    def custom_tool_call(self, item: Item, path: str) -> Iterator[HistoryMessage]:
        """A call of a custom tool with plain text."""
        yield self._call(item, path, "input", None)

    def output(self, item: Item, path: str) -> Iterator[HistoryMessage]:
        """The output of a call."""
        call_id = required(item, "call_id", path)
        if call_id not in self._recipients and (call := self._before.calls.get(call_id)):
            assert call.message.recipient is not None, "a call has a recipient"
            self._recipients[call_id] = call.message.recipient
            yield call
        if call_id not in self._recipients:
            raise RequestError(
                f"{path}.call_id is {call_id!r:.80}, which no earlier item called; send the call "
                "too, or previous_response_id",
                param=f"{path}.call_id",
            )
        result = Message(
            role="tool",
            name=self._recipients[call_id],
            channel="commentary",
            content=_content(item.get("output"), f"{path}.output"),
        )
        yield HistoryMessage(message=result, call_id=call_id)

    def web_search_call(self, item: Item, path: str) -> Iterator[HistoryMessage]:
        """A call of the browser, with the results in the item."""
        action = item.get("action")
        if not isinstance(action, dict):
            raise RequestError(
                f"{path}.action is not an object; send the item as it came", param=f"{path}.action"
            )
        match action_of(action):
            case {"type": "open_page", "url": url}:
                name, arguments = "open", {} if url is None else {"id": url}
            case {"type": "find_in_page", "pattern": pattern}:
                name, arguments = "find", {"pattern": pattern}
            case searched:
                name, arguments = "search", {"query": searched["query"]}
        results = "\n".join(_texts(item.get("results"), "text"))
        sources = "\n".join(_texts(action.get("sources"), "url"))
        text = results or sources or LOST
        yield _tool_call(item, f"browser.{name}", json.dumps(arguments), "analysis", text, "json")

    def code_interpreter_call(self, item: Item, path: str) -> Iterator[HistoryMessage]:
        """A call of Python, with its output."""
        code = item.get("code")
        logs = "\n".join(_texts(item.get("outputs"), "logs"))
        text = code if isinstance(code, str) else ""
        yield _tool_call(item, "python", text, "analysis", logs or LOST, "code")

    def mcp_call(self, item: Item, path: str) -> Iterator[HistoryMessage]:
        """A call of an MCP server's tool."""
        for key in ("server_label", "name", "arguments"):
            if not isinstance(item.get(key), str):
                raise RequestError(
                    f"{path}.{key} is not a string; send the item as it came", param=f"{path}.{key}"
                )
        error, output = item.get("error"), item.get("output")
        if isinstance(error, dict):  # the text of an error, or the parts of an error result
            message = error.get("message") or "\n".join(_texts(error.get("content"), "text"))
            error = message if isinstance(message, str) else None
        text = next((each for each in (output, error) if isinstance(each, str) and each), LOST)
        recipient = f"{item['server_label']}.{item['name']}"
        try:
            yield _tool_call(item, recipient, item["arguments"], "commentary", text, "json")
        except RequestError:  # content is never refused: the name is invalid
            raise RequestError(
                f"{path}.name is {recipient!r:.80}, which no tool is called; send the item as it "
                "came",
                param=f"{path}.name",
            ) from None

    def _call(self, item: Item, path: str, field: str, content_type: str | None) -> HistoryMessage:
        name, call_id = required(item, "name", path), required(item, "call_id", path)
        namespace = item.get("namespace")
        if isinstance(namespace, str) and namespace:
            name = joined(namespace, name)
        text = item.get(field)
        if not isinstance(text, str):
            raise RequestError(
                f"{path}.{field} is not a string; send what the tool was called with",
                param=f"{path}.{field}",
            )
        try:
            message = Message(
                role="assistant",
                channel="commentary",
                recipient=f"{FUNCTIONS}.{name}",
                content_type=content_type,
                content=text,
            )
        except RequestError:  # content is never refused: the name is invalid
            raise RequestError(
                f"{path}.name is {name!r:.80}; expected 1 to 64 letters, digits, underscores or "
                "dashes",
                param=f"{path}.name",
            ) from None
        self._recipients[call_id] = f"{FUNCTIONS}.{name}"
        return HistoryMessage(message=message, item_id=_identity(item), call_id=call_id)


class InputItem(NamedTuple):
    """How one type of input item is read and listed."""

    reader: Callable[[_ItemReader, Item, str], Iterator[HistoryMessage]] | None = None
    """None: the item adds nothing to the history."""
    prefix: str | None = None
    """Prefix of its id in lists of the input; None: not listed."""
    fields: tuple[str, ...] = ()
    """Fields that are listed unchanged."""


_TARGET = ("server_label", "name", "arguments")
INPUT_ITEMS: Mapping[str, InputItem] = MappingProxyType(
    {
        "message": InputItem(_ItemReader.message, "msg"),
        "reasoning": InputItem(_ItemReader.reasoning, "rs", ("encrypted_content",)),
        "item_reference": InputItem(_ItemReader.item_reference),
        "function_call": InputItem(
            _ItemReader.function_call, "fc", ("call_id", "name", "arguments", "namespace")
        ),
        "function_call_output": InputItem(_ItemReader.output, "fco", ("call_id", "output")),
        "custom_tool_call": InputItem(
            _ItemReader.custom_tool_call, "ctc", ("call_id", "name", "input", "namespace")
        ),
        "custom_tool_call_output": InputItem(_ItemReader.output, "ctco", ("call_id", "output")),
        "web_search_call": InputItem(_ItemReader.web_search_call, "ws"),
        "code_interpreter_call": InputItem(
            _ItemReader.code_interpreter_call, "ci", ("code", "container_id")
        ),
        "mcp_call": InputItem(_ItemReader.mcp_call, "mcp", (*_TARGET, "output")),
        "mcp_list_tools": InputItem(),  # the prompt declares tools anew in each request
        "mcp_approval_request": InputItem(_ItemReader.approval_request, REQUEST_PREFIX, _TARGET),
        "mcp_approval_response": InputItem(
            None, "mcpa", ("approval_request_id", "approve", "reason")
        ),
    }
)
"""The input item types, how to read and how to list them."""


def action_of(action: Item) -> Json:
    """Normalise the action of a web search to OpenAI's types."""
    fields = {key: value for key, value in action.items() if isinstance(value, str)}
    match fields.get("type"):
        case "open_page":
            return {"type": "open_page", "url": fields.get("url")}
        case "find_in_page":
            url, pattern = fields.get("url", ""), fields.get("pattern", "")
            return {"type": "find_in_page", "url": url, "pattern": pattern}
        case _:
            queries = action.get("queries")  # the form of other servers
            several = queries if isinstance(queries, list) else []
            texts = (text for text in several if isinstance(text, str))
            return {"type": "search", "query": fields.get("query") or "; ".join(texts)}


def kind_of(item: Item) -> Any:
    """Return the item's type; if absent, infer it from the other fields."""
    kind = item.get("type")
    if kind is None:
        return "message" if "role" in item else "item_reference" if "id" in item else None
    return kind


def requested(item: Item) -> str | None:
    """Return the id of the approval request that an item is or refers to."""
    item_id, kind = item.get("id"), kind_of(item)
    if not isinstance(item_id, str):
        return None
    is_reference = kind == "item_reference" and item_id.startswith(f"{REQUEST_PREFIX}_")
    return item_id if kind == "mcp_approval_request" or is_reference else None


def _is_output(item: Item) -> bool:
    return item.get("type") in _OUTPUTS


def _identity(item: Item) -> str | None:
    """Return the item's id; clients may omit it, or send one of another server."""
    item_id = item.get("id")
    return item_id if isinstance(item_id, str) and item_id else None


def required(item: Item, field: str, path: str) -> str:
    """Return the text in a field; RequestError if it is missing."""
    value = item.get(field)
    if value is None:
        raise RequestError(
            f"{path}.{field} is missing; add it", param=f"{path}.{field}", code="missing_field"
        )
    if not isinstance(value, str):
        raise RequestError(f"{path}.{field} is not a string; expected one", param=f"{path}.{field}")
    return value


def _content(content: object, path: str) -> str:
    """Return a text, or the joined texts of its parts."""
    if isinstance(content, str):
        return content
    if content is None:
        raise RequestError(f"{path} is missing; add it", param=path, code="missing_field")
    if not isinstance(content, list) or len(content) > MAX_PARTS:
        raise RequestError(
            f"{path} is neither a text nor a list of at most {MAX_PARTS} parts", param=path
        )
    return "".join(_part(part, f"{path}[{at}]") for at, part in enumerate(content))


def _part(part: object, path: str) -> str:
    if not isinstance(part, dict):
        raise RequestError(f"{path} is not an object; expected a part of text", param=path)
    kind = part.get("type")
    if kind not in (*_TEXT_PARTS, "refusal"):
        raise RequestError(
            f"{path}.type is {kind!r:.40}; this model is text only: send input_text",
            param=f"{path}.type",
        )
    return required(part, "refusal" if kind == "refusal" else "text", path)


def _tool_call(
    item: Item, recipient: str, body: str, channel: Channel, result: str, content_type: str
) -> HistoryMessage:
    message = Message(
        role="assistant",
        channel=channel,
        recipient=recipient,
        content_type=content_type,
        content=body,
    )
    return HistoryMessage(
        message=message,
        item_id=_identity(item),
        result=Message(role="tool", name=recipient, channel=channel, content=result),
    )


def _texts(parts: object, key: str) -> list[str]:
    """Return the texts of the parts under this key; skip other parts."""
    if not isinstance(parts, list):
        return []
    found = (part.get(key) for part in parts if isinstance(part, dict))
    return [text for text in found if isinstance(text, str)]
