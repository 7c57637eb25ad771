"""Random conversations that exercise every part of a prompt; the same seed gives the same ones.

Schemas are limited to what the published library spells without loss, so both can be compared.
"""

import random
from collections.abc import Callable
from typing import Any

from ossia.harmony.messages import Conversation, FunctionTool, Message

_WORDS = r"""
the a of weather city Zürich 東京 naïve 🦊 👩‍👩‍👧 don't I'LL ÉCOLE x1 3.14159 1234567 https://a.b/c?d=e
<|end|> <|start|>assistant <|channel|>final <|constrain|> <|reserved_200500|> to=functions.f
{} [] () // /* */ \n `code` **bold** Ελλάδα مرحبا नमस्ते ﬁ ½ null none
"""
_PLAIN = "alpha beta gamma delta unit value of the for with 12 (x) [y] é"
_KEYS = "city unit count query page_size isOpen $ref_id _x names inner2 é"
WORDS = _WORDS.split()
SPACES = (" ", " ", " ", " ", "  ", "\n", "\n\n", "\t", "\r\n", "   \n ")
PLAIN = _PLAIN.split()
KEYS = _KEYS.split()
DEFAULTS: tuple[Any, ...] = (
    "C", "two words", 3, -1, 0, 2.5, 1e-7, 0.00001, 1.5e-5, 1e16, 2.5e300, 12.75, True, False, None,
    [], [1, 2], ["a", None], {"a": [1, {"b": "c"}], "z": 1e-9}, {},
)  # fmt: skip

Schema = dict[str, Any]


def text(rng: random.Random, most: int = 40) -> str:
    """A text with odd spaces, scripts and control-token names; maybe empty."""
    return "".join(rng.choice(WORDS) + rng.choice(SPACES) for _ in range(rng.randrange(most)))


def plain(rng: random.Random) -> str:
    """One line without quotes: what the library copies unescaped."""
    return " ".join(rng.choice(PLAIN) for _ in range(rng.randint(1, 6)))


def _described(rng: random.Random, schema: Schema, *, default: bool = True) -> Schema:
    for key, chance in (("description", 0.5), ("title", 0.15)):
        if rng.random() < chance:
            schema[key] = plain(rng)
    if rng.random() < 0.15:
        schema["examples"] = [rng.choice((plain(rng), 3)) for _ in range(rng.randrange(3))]
    if default and rng.random() < 0.35:
        schema["default"] = rng.choice(DEFAULTS)
    if rng.random() < 0.15:
        schema["nullable"] = True
    return schema


def _leaf(rng: random.Random, depth: int) -> Schema:
    return {"type": rng.choice(("string", "number", "integer", "boolean")), "minimum": depth}


def _any(rng: random.Random, depth: int) -> Schema:
    return rng.choice(({}, {"type": "file"}, {"pattern": "^a"}))


def _enum(rng: random.Random, depth: int) -> Schema:
    return {"type": "string", "enum": [plain(rng) for _ in range(rng.randint(1, 4))]}


def _type_list(rng: random.Random, depth: int) -> Schema:
    names = ["string", "number", "integer", "boolean", "array", "object", "null"]
    return {"type": rng.sample(names, rng.randint(2, 4))}


def _array(rng: random.Random, depth: int) -> Schema:
    if rng.random() < 0.2:
        return {"type": "array"}
    items = rng.choice((_leaf, _array, object_schema, _any))(rng, depth + 1)
    items.pop("nullable", None)
    return {"type": "array", "items": items}


def _choice(rng: random.Random, depth: int) -> Schema:
    variants = [
        _described(rng, rng.choice((_leaf, _enum, _array, object_schema, _any))(rng, depth + 1))
        for _ in range(rng.randint(1, 4))
    ]
    schema: Schema = {"oneOf": variants}
    if rng.random() < 0.3 and "description" in variants[0]:
        schema["description"] = variants[0]["description"]
    return schema


def object_schema(rng: random.Random, depth: int = 0) -> Schema:
    """An object with up to four properties, at most four levels below the top."""
    kinds: list[Callable[[random.Random, int], Schema]] = [_leaf, _leaf, _enum, _type_list, _any]
    if depth < 4:
        kinds += [_array, _choice, object_schema]
    properties = {}
    for key in rng.sample(KEYS, rng.randint(1, 4)):
        schema = rng.choice(kinds)(rng, depth + 1)
        keep = schema.get("description")
        properties[key] = _described(rng, schema)
        if keep and rng.random() < 0.8:
            properties[key]["description"] = keep
    found: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    if rng.random() < 0.7:
        found["required"] = [key for key in properties if rng.random() < 0.5]
    if rng.random() < 0.2:
        found["description"] = plain(rng)
    return found


def function_tool(rng: random.Random, name: str) -> FunctionTool:
    """A function with or without parameters, sometimes with a choice at the very top."""
    parameters: Schema | None = object_schema(rng) if rng.random() < 0.85 else None
    if parameters and rng.random() < 0.1:
        parameters = {"type": "object", **_choice(rng, 0)}
    described = rng.choice(("", plain(rng), f"{plain(rng)}\n\n{plain(rng)}\n", text(rng, 8)))
    return FunctionTool(name=name, description=described, parameters=parameters)


def _call_and_result(rng: random.Random, names: list[str]) -> list[Message]:
    name = rng.choice(names)
    channel = rng.choice(("analysis", "commentary"))
    kind = rng.choice((None, "json", "<|constrain|>json", "code"))
    call = Message(
        role="assistant", channel=channel, recipient=name, content=text(rng, 8), content_type=kind
    )
    return [call, Message(role="tool", name=name, channel=channel, content=text(rng))]


def _turn(rng: random.Random, names: list[str], *, finished: bool) -> list[Message]:
    name = rng.choice((None, None, None, "bob", "A-1"))
    messages = [Message(role="user", content=text(rng), name=name)]
    if rng.random() < 0.1:
        messages.append(Message(role="developer", content=text(rng, 6)))
    if rng.random() < 0.2:
        messages[0] = Message(role="user", content=(text(rng, 5), text(rng, 5)))
    for _ in range(rng.randrange(4)):
        messages.append(Message(role="assistant", channel="analysis", content=text(rng)))
        if names and rng.random() < 0.3:
            messages.append(Message(role="assistant", channel="commentary", content=text(rng, 6)))
        if names and rng.random() < 0.7:
            messages += _call_and_result(rng, names)
    if finished:
        messages.append(Message(role="assistant", channel="final", content=text(rng)))
    return messages


def conversation(rng: random.Random) -> Conversation:
    """Up to four turns, the last one maybe in the middle of a tool loop."""
    names = rng.sample(("f", "get_weather", "Search-2", "a" * 64, "user"), rng.randrange(4))
    functions = tuple(function_tool(rng, name) for name in names)
    builtins = tuple(rng.sample(("browser", "python"), rng.randrange(3)))
    called = [f"functions.{name}" for name in names]
    called += ["python"] * ("python" in builtins)
    called += ["browser.search", "browser.open", "browser.find"] * ("browser" in builtins)
    turns = rng.randint(1, 4)
    messages = [
        message
        for turn in range(turns)
        for message in _turn(rng, called, finished=turn < turns - 1 or rng.random() < 0.2)
    ]
    return Conversation(
        messages=tuple(messages),
        effort=rng.choice(("low", "medium", "high")),
        date=rng.choice((None, "2025-06-28", "2031-12-01")),
        instructions=rng.choice((None, plain(rng), text(rng) + ".")),
        functions=functions,
        builtins=builtins,
    )
