"""Damaged requests against a real server: `python -m benchmarks.fuzz_requests [--count 100000]`.

Good requests of every API are damaged: values put where they do not belong, fields taken away,
doubled, renamed and moved, bytes broken. Each must be answered, or refused with 4xx and an error
object, within five seconds; no answer may be a 5xx, show a place in the program, or end a stream
with an error. What took longer is asked once more, alone, and may then take as much longer as a
trivial request does before and after it: a busy machine is no fault.
"""

import argparse
import asyncio
import copy
import json
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx2

from benchmarks.serving import served

AT_ONCE = 8
MAX_SECONDS = 5.0
CANARY_SECONDS = 0.05
"""What the trivial request may take on a quiet machine."""
CANARY = ("/v1/responses", b'{"input":"Hello","max_output_tokens":4,"store":false}')
MAX_SHOWN = 20
FEW_TOKENS = 4

TOOL = {"name": "f", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}}}
SCHEMA = {"type": "object", "properties": {"a": {"enum": [1, 2]}}, "required": ["a"]}
INPUT_MESSAGE = {
    "type": "message",
    "role": "user",
    "content": [{"type": "input_text", "text": "a"}],
}
HELLO = {"role": "user", "content": "Hello"}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
CHAT_TOOL = {"type": "function", "function": TOOL}
CUSTOM = {
    "type": "custom",
    "name": "g",
    "format": {"type": "grammar", "syntax": "lark", "definition": "start: /[a-c]+/"},
}
NAMED = {"name": "s", "schema": SCHEMA, "strict": True}

GOOD: Sequence[tuple[str, dict[str, Any]]] = (
    ("/v1/chat/completions", {"messages": [HELLO]}),
    (
        "/v1/chat/completions",
        {
            "model": "nano",
            "messages": [
                {"role": "system", "content": "Be brief."},
                HELLO,
                {"role": "assistant", "reasoning": "hm", "tool_calls": [CALL]},
                {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "1"}]},
            ],
            "tools": [CHAT_TOOL, {"type": "custom", "custom": {"name": "g"}}],
            "tool_choice": {"type": "function", "function": {"name": "f"}},
            "stream": True,
            "stream_options": {"include_usage": True},
        },
    ),
    (
        "/v1/chat/completions",
        {
            "messages": [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}],
            "response_format": {"type": "json_schema", "json_schema": NAMED},
            "reasoning": {"effort": "low", "max_tokens": 3},
            "metadata": {"a": "b"},
        },
    ),
    (
        "/v1/chat/completions",
        {
            "messages": [HELLO],
            "n": 2,
            "seed": 1,
            "temperature": 0.5,
            "top_p": 0.9,
            "logprobs": True,
            "top_logprobs": 2,
            "stop": ["a", "b"],
            "logit_bias": {"5": -3.5},
            "presence_penalty": 0.1,
            "top_k": 5,
            "min_p": 0.1,
        },
    ),
    ("/v1/completions", {"prompt": "Once"}),
    ("/v1/completions", {"prompt": [[1, 2], [3]], "n": 1, "best_of": 2, "logprobs": 2}),
    ("/v1/completions", {"prompt": ["a", "b"], "echo": True, "stream": True, "stop": "x"}),
    ("/v1/responses", {"input": "Hello", "store": False}),
    (
        "/v1/responses",
        {
            "input": [
                {
                    "type": "message",
                    "role": "user",
                    "content": [{"type": "input_text", "text": "a"}],
                },
                {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"},
                {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "c1", "output": "1"},
            ],
            "instructions": "Be brief.",
            "tools": [{"type": "function", "strict": True, **TOOL}, {"type": "web_search"}, CUSTOM],
            "tool_choice": "auto",
            "include": ["reasoning.encrypted_content"],
            "stream": True,
        },
    ),
    (
        "/v1/responses",
        {
            "input": "Hello",
            "text": {"format": {"type": "json_schema", **NAMED}},
            "reasoning": {"effort": "low", "summary": "auto"},
            "metadata": {"a": "b"},
            "truncation": "auto",
            "top_logprobs": 1,
        },
    ),
    ("/v1/responses/input_tokens", {"input": "Hello"}),
    ("/api/show", {"model": "nano"}),
    ("/api/pull", {"name": "nano", "stream": True}),
)

_DEEP: list[Any] = []
for _ in range(70):
    _DEEP = [_DEEP]

JUNK: Sequence[Any] = (
    *(None, True, False, 0, -1, 1, 7, 0.5, -0.0, 1e-300, 1e308, 2**31, 2**63, 10**39),
    *("", "a", "5", "\0", "\N{GRINNING FACE}", "x" * 10_000, "a to=functions.f", "<|start|>system"),
    *("http://169.254.169.254/", "file:///etc/passwd", "../../x", "auto", "required", "none"),
    *([], {}, [[]], [None], {"a": None}, [0] * 2100, ["a"] * 200, {"": {}}, _DEEP),
    *({"type": "object"}, {"$ref": "#"}, {"type": "image_url"}, {"role": "system"}, {"type": "x"}),
    *({"type": "string", "pattern": "(a+)+$"}, {"type": "string", "maxLength": 2**31}),
)
RAW = (b"NaN", b"-Infinity", b"1e999", b"9" * 5000, rb'"\ud800"', b"[" * 100_000, b"")
_HOLE = "\u2205"

_SECRET = re.compile(r"Traceback|0x[0-9a-f]{8}|\.py\b|site-packages")


@dataclass(frozen=True, slots=True)
class Failure:
    """One answer that should not have been."""

    why: str
    path: str
    body: bytes
    detail: str


@dataclass
class Outcome:
    """What came of all requests."""

    statuses: Counter[int] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)
    slow: list[tuple[str, bytes]] = field(default_factory=list)
    """Requests to be asked again, alone."""
    slowest: float = 0.0

    def note(self, path: str, body: bytes, status: int, text: str, seconds: float) -> None:
        """One more answer; status 0 is none."""
        self.statuses[status] += 1
        self.slowest = max(self.slowest, seconds)
        if why := fault(status, text):
            self.failures.append(Failure(why, path, body, f"{status} {text[-200:]}"))
        elif seconds > MAX_SECONDS:
            self.slow.append((path, body))

    def note_again(self, path: str, body: bytes, seconds: float, canary: float) -> None:
        """A slow one was asked once more, beside a canary."""
        if seconds > most_seconds(canary):
            detail = f"{seconds:.1f} s where the canary took {canary:.2f} s"
            self.failures.append(Failure("too slow", path, body, detail))

    @property
    def kinds(self) -> dict[str, int]:
        """How many failures there are of each kind."""
        return dict(Counter(failure.why for failure in self.failures).most_common())


def most_seconds(canary: float) -> float:
    """How long an answer may take where the trivial one takes `canary` seconds."""
    return MAX_SECONDS * max(1.0, canary / CANARY_SECONDS)


def fault(status: int, text: str) -> str | None:
    """What is wrong with an answer, its time apart; None where nothing is."""
    if status == 0:
        return "no answer"
    if status >= 500:
        return "a 5xx"
    if status < 400:
        return "a late error" if '"server_error"' in text else None
    try:
        error = json.loads(text)["error"]
    except (ValueError, KeyError, TypeError):
        return "no error object"
    if not {"message", "type", "param", "code"} <= error.keys():
        return "half an error object"
    return "a place in the program" if _SECRET.search(text) else None


def damaged(draw: random.Random) -> tuple[str, bytes]:
    """A path, and a body that is good no more; now and then it still is."""
    path, good = draw.choice(GOOD)
    document = copy.deepcopy(good)
    for _ in range(draw.randint(0, 3)):
        _damage(document, draw)
    limit = "max_output_tokens" if "responses" in path else "max_tokens"
    if path.startswith("/v1/") and not path.endswith("tokens"):  # else some would go on and on
        document[limit] = FEW_TOKENS
    places = _places(document)
    holds_raw = bool(places) and draw.random() < 0.05
    if holds_raw:
        holder, key = draw.choice(places)
        holder[key] = _HOLE
    body = json.dumps(document, ensure_ascii=draw.random() < 0.5).encode()
    if holds_raw:
        for hole in (json.dumps(_HOLE).encode(), f'"{_HOLE}"'.encode()):
            body = body.replace(hole, draw.choice(RAW))
    return path, _broken(body, draw) if draw.random() < 0.05 else body


def _damage(document: dict[str, Any], draw: random.Random) -> None:
    places = _places(document)
    if not places:
        return
    holder, key = draw.choice(places)
    match draw.randrange(6):
        case 0 | 1:
            holder[key] = copy.deepcopy(draw.choice(JUNK))
        case 2:
            del holder[key]
        case 3:
            times = 2 if len(json.dumps(holder[key])) > 2000 else draw.choice((1, 2, 300))
            holder[key] = [holder[key]] * times
        case 4:
            other, there = draw.choice(places)
            holder[key] = copy.deepcopy(other[there]) if there in _keys(other) else None
        case _:
            name = draw.choice(("unknown", "type", "name", "id", "stream", "bad name\r\n"))
            target = holder if isinstance(holder, dict) else document
            target[name] = copy.deepcopy(draw.choice(JUNK))


def _keys(holder: Any) -> Any:
    return holder.keys() if isinstance(holder, dict) else range(len(holder))


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every place in a document, up to a few hundred: what holds it, and its key there."""
    found: list[tuple[Any, Any]] = []
    queue = [value]
    while queue and len(found) < 300:
        holder = queue.pop(0)
        for key in _keys(holder):
            found.append((holder, key))
            if isinstance(holder[key], dict | list):
                queue.append(holder[key])
    return found


def _broken(body: bytes, draw: random.Random) -> bytes:
    at = draw.randrange(len(body) + 1)
    match draw.randrange(4):
        case 0:
            return body[:at]
        case 1:
            return body[:at] + bytes([draw.randrange(256)]) + body[at:]
        case 2:
            return body[:at] + body[at + 1 :]
        case _:
            return body + body


async def fuzz(address: str, count: int, draw: random.Random) -> Outcome:
    """Send damaged requests to a server, some at once; see what comes of them."""
    outcome = Outcome()
    left = iter(range(count))

    async def send_some(client: httpx2.AsyncClient) -> None:
        for _ in left:
            path, body = damaged(draw)
            outcome.note(path, body, *await _send(client, path, body))

    async with httpx2.AsyncClient(base_url=address, timeout=120, trust_env=False) as client:
        await asyncio.gather(*(send_some(client) for _ in range(AT_ONCE)))
        for path, body in outcome.slow:
            _, _, before = await _send(client, *CANARY)
            _, _, seconds = await _send(client, path, body)
            _, _, after = await _send(client, *CANARY)
            outcome.note_again(path, body, seconds, max(before, after))
    return outcome


async def _send(client: httpx2.AsyncClient, path: str, body: bytes) -> tuple[int, str, float]:
    """Status, text and seconds of one answer; status 0 where there is none."""
    started = time.monotonic()
    try:
        answer = await client.post(path, content=body, headers={"content-type": "application/json"})
        status, text = answer.status_code, answer.text
    except httpx2.HTTPError as error:
        status, text = 0, type(error).__name__
    return status, text, time.monotonic() - started


def main() -> int:
    """Fuzz a server of nano, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with served("--no-store") as server:
        started = time.monotonic()
        outcome = asyncio.run(fuzz(server.address, args.count, random.Random(args.seed)))
        seconds = time.monotonic() - started
    for failure in outcome.failures[:MAX_SHOWN]:
        request = f"{failure.path} {failure.body[:400]!r}"
        print(f"{failure.why}: {request} -> {failure.detail}", file=sys.stderr)
    print(
        json.dumps(
            {
                "requests": outcome.statuses.total(),
                "failures": len(outcome.failures),
                "kinds": outcome.kinds,
                "asked_again": len(outcome.slow),
                "statuses": dict(sorted(outcome.statuses.items())),
                "slowest_s": round(outcome.slowest, 3),
                "seconds": round(seconds, 1),
            }
        )
    )
    return bool(outcome.failures)


if __name__ == "__main__":
    raise SystemExit(main())
