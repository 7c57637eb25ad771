"""How `ossia serve` carries many streams at once, and what its HTTP layer costs a token.

    python -m benchmarks.serve [--streams 1 8 64 256] [--ids] [--peer URL] [--json]

Every stream is a chat completion of nano with a seed of its own; with --ids it is a completion of
the same prompt in token ids, which servers without our chat format can be asked too. Its text is
compared with that of the same request alone. Printed for each number of streams: tokens a second,
percentiles of the time to the first piece and between two pieces, and processor time of the HTTP
process a token (the engine is another process). With --peer, a second server of the same model is
asked the same in turn (A B A B), such as llama.cpp's of a file that
`benchmarks.gguf_checkpoint --spelt` wrote.
"""

import argparse
import asyncio
import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx2

from benchmarks.serving import Served, served
from ossia import LLM

MAX_TOKENS = 64
QUESTIONS = ("What is {} + {}?", "What is {} - {}?", "Please add {} and {}.")


@dataclass(slots=True)
class Stream:
    """What one stream showed."""

    text: str = ""
    tokens: int = 0
    first: float = 0.0
    gaps: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Asking:
    """What every stream asks, over which door."""

    path: str
    bodies: Sequence[dict[str, Any]]

    @classmethod
    def chat(cls, count: int) -> "Asking":
        """Questions, answered with reasoning."""
        return cls(
            "/chat/completions", [{**_common(at), "messages": _messages(at)} for at in range(count)]
        )

    @classmethod
    def ids(cls, count: int) -> "Asking":
        """The same prompts as ids."""
        with LLM() as llm:
            prompts = [llm.render(_messages(at)) for at in range(count)]
        return cls(
            "/completions",
            [{**_common(at), "prompt": prompt} for at, prompt in enumerate(prompts)],
        )


def _messages(number: int) -> list[dict[str, str]]:
    question = QUESTIONS[number % len(QUESTIONS)].format(10 + number % 89, 10 + number * 7 % 89)
    return [{"role": "user", "content": question}]


def _common(number: int) -> dict[str, Any]:
    return {
        "model": "nano", "seed": number, "max_tokens": MAX_TOKENS, "stream": True,
        "stream_options": {"include_usage": True},
    }  # fmt: skip


async def read(client: httpx2.AsyncClient, path: str, body: dict[str, Any]) -> Stream:
    """Run one stream."""
    found, started, last = Stream(), time.perf_counter(), 0.0
    async with client.stream("POST", path, json=body) as response:
        if response.status_code != 200:
            raise RuntimeError(f"{response.status_code}: {(await response.aread())[:300]!r}")
        async for line in response.aiter_lines():
            if not line.startswith("data: ") or line == "data: [DONE]":
                continue
            event = json.loads(line.removeprefix("data: "))
            if usage := event.get("usage"):
                found.tokens = usage["completion_tokens"]
            for choice in event["choices"]:
                now = time.perf_counter()
                if piece := _piece(choice):
                    if last:
                        found.gaps.append(now - last)
                    else:
                        found.first = now - started
                    last = now
                    found.text += piece
    return found


def _piece(choice: dict[str, Any]) -> str:
    """What a chunk shows."""
    delta = choice.get("delta", {})
    shown = (choice.get("text"), delta.get("reasoning"), delta.get("content"))
    return "".join(text for text in shown if text)


async def run(url: str, asking: Asking, numbers: Sequence[int]) -> tuple[list[Stream], float]:
    """Run streams at once; gives them and the seconds they took."""
    limits = httpx2.Limits(max_connections=len(numbers))
    async with httpx2.AsyncClient(base_url=url, limits=limits, timeout=600) as client:
        started = time.perf_counter()
        found = await asyncio.gather(
            *(read(client, asking.path, asking.bodies[number]) for number in numbers)
        )
        return list(found), time.perf_counter() - started


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Median, 90 and 99 of a hundred, in milliseconds."""
    ordered = sorted(values) or [0.0]
    return {
        f"p{share}": round(1e3 * ordered[min(len(ordered) - 1, len(ordered) * share // 100)], 2)
        for share in (50, 90, 99)
    }


def measured(streams: Sequence[Stream], seconds: float) -> dict[str, Any]:
    """One row of the table."""
    tokens = sum(stream.tokens for stream in streams)
    return {
        "streams": len(streams),
        "tokens": tokens,
        "tokens_per_s": round(tokens / seconds, 1),
        "first_ms": percentiles([stream.first for stream in streams]),
        "gap_ms": percentiles([gap for stream in streams for gap in stream.gaps]),
    }


def ours(server: Served, asking: Asking, count: int, alone: dict[int, str]) -> dict[str, Any]:
    """The same with what only our own process tells: its cost, and whether texts are exact."""
    before = server.cpu_seconds()
    streams, seconds = asyncio.run(run(server.api, asking, range(count)))
    row = measured(streams, seconds)
    row["http_cpu_ms_per_token"] = round(1e3 * (server.cpu_seconds() - before) / row["tokens"], 3)
    row["exact"] = sum(stream.text == alone[at] for at, stream in enumerate(streams))
    return row


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 8, 64, 256])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--max-running", default="32")
    parser.add_argument("--peer", help="base URL of another server of the same model")
    parser.add_argument("--ids", action="store_true")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    most = max(args.streams)
    asking = Asking.ids(most) if args.ids else Asking.chat(most)
    rows: list[dict[str, Any]] = []
    with served(
        "--max-running", args.max_running, "--max-waiting", "4096", "--allow-control-ids"
    ) as server:
        alone = {
            number: asyncio.run(run(server.api, asking, [number]))[0][0].text
            for number in range(most)
        }
        for count in args.streams:
            for _ in range(args.rounds):
                rows.append({"server": "ossia", **ours(server, asking, count, alone)})
                if args.peer:
                    streams, seconds = asyncio.run(run(args.peer, asking, range(count)))
                    rows.append({"server": "peer", **measured(streams, seconds)})
    for row in rows:
        print(json.dumps(row) if args.json else _line(row))
    for count in args.streams:
        for name in ("ossia", "peer") if args.peer else ("ossia",):
            here = [row for row in rows if (row["server"], row["streams"]) == (name, count)]
            rate = statistics.median(row["tokens_per_s"] for row in here)
            first = statistics.median(row["first_ms"]["p50"] for row in here)
            print(f"median  {name:6} {count:4} streams  {rate:8.1f} tokens/s  first {first:.1f} ms")


def _line(row: dict[str, Any]) -> str:
    exact = f"  exact {row['exact']}/{row['streams']}" if "exact" in row else ""
    cost = f"  http {row['http_cpu_ms_per_token']:.3f} ms/token" if "exact" in row else ""
    return (
        f"{row['server']:6} {row['streams']:4} streams  {row['tokens_per_s']:8.1f} tokens/s  "
        f"first p50 {row['first_ms']['p50']:.1f} p99 {row['first_ms']['p99']:.1f} ms  "
        f"gap p50 {row['gap_ms']['p50']:.2f} p99 {row['gap_ms']['p99']:.2f} ms{cost}{exact}"
    )


if __name__ == "__main__":
    main()
