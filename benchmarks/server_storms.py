"""What happens to a server when clients vanish, and when it or its engine is killed.

    python -m benchmarks.server_storms disconnects [--count 10000]
    python -m benchmarks.server_storms kills [--count 200]
    python -m benchmarks.server_storms engine-kills [--count 20]

disconnects: streams are begun and dropped at random moments, many at once; afterwards nothing may
run, and descriptors and memory must be where they were. A canary stream between them must answer
the same text each time. Also printed: how long a turn runs on after its reader has gone.
kills: the server is killed with SIGKILL while it answers stored responses; after each restart
every response that was acknowledged must be there, whole and the same, and none in progress.
engine-kills: the engine's process is killed while streams run; each stream must end with an error
event, and the next request be answered.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2

from benchmarks.serving import Served, served

AT_ONCE = 32
CANARY = {"input": "What is 37 + 48?", "temperature": 0, "store": False}
NUMBERS = {"type": "array", "items": {"type": "integer", "maximum": 999}, "minItems": 300}
LONG = {
    "messages": [{"role": "user", "content": "Numbers?"}],
    "reasoning_effort": "none",
    "stream": True,
    "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": NUMBERS}},
}
"""An answer that goes on, and does not repeat itself."""


def main() -> None:
    """Run one storm."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("storm", choices=("disconnects", "kills", "engine-kills"))
    parser.add_argument("--count", type=int)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    storms: dict[str, tuple[Callable[[int, random.Random], dict[str, Any]], int]] = {
        "disconnects": (disconnects, 10_000),
        "kills": (kills, 200),
        "engine-kills": (engine_kills, 20),
    }
    storm, count = storms[args.storm]
    print(json.dumps(storm(args.count or count, random.Random(args.seed))))


def disconnects(count: int, draw: random.Random) -> dict[str, Any]:
    """Begin and drop streams; report what is left of them."""
    with served("--max-running", "8", "--max-waiting", "256", "--no-store") as server:
        expected = answer(server)
        asyncio.run(_drop_all(server, AT_ONCE * 4, draw))  # everything that grows once has grown
        idle(server)
        before = (
            server.num_descriptors(),
            server.resident_bytes(),
            server.resident_bytes(server.engine_pid),
        )
        canaries = asyncio.run(_drop_all(server, count, draw))
        settled = idle(server)
        lags = [_lag(server) for _ in range(20)]
        after = (
            server.num_descriptors(),
            server.resident_bytes(),
            server.resident_bytes(server.engine_pid),
        )
        return {
            "disconnects": count,
            "canaries": len(canaries),
            "canaries_right": sum(text == expected for text in canaries),
            "engine_restarts": int(server.metrics()["ossia_engine_restarts_total"]),
            "settled_s": round(settled, 2),
            "descriptors": [before[0], after[0]],
            "server_mb": [round(each / 1e6, 1) for each in (before[1], after[1])],
            "engine_mb": [round(each / 1e6, 1) for each in (before[2], after[2])],
            "stopped_after_ms": {
                "median": round(1e3 * statistics.median(lags), 1),
                "worst": round(1e3 * max(lags), 1),
            },
        }


async def _drop_all(server: Served, count: int, draw: random.Random) -> list[str]:
    gate, canaries = asyncio.Semaphore(AT_ONCE), []
    limits = httpx2.Limits(max_connections=AT_ONCE + 2)
    async with httpx2.AsyncClient(base_url=server.api, timeout=120, limits=limits) as client:

        async def drop(patience: float, path: str, body: dict[str, Any]) -> None:
            async with gate:
                try:
                    async with asyncio.timeout(patience):
                        async with client.stream("POST", path, json=body) as response:
                            async for _ in response.aiter_raw():
                                pass
                except (TimeoutError, httpx2.HTTPError):
                    pass

        async def one(number: int) -> None:
            if number % 500 == 0:
                response = await client.post("/responses", json=CANARY)
                canaries.append(_text(response.json()))
            bodies = (
                ("/chat/completions", LONG),
                ("/responses", {**CANARY, "temperature": 1, "stream": True}),
                ("/chat/completions", {
                    "messages": [{"role": "user", "content": "Hi"}], "stream": draw.random() < 0.5,
                }),
            )  # fmt: skip
            await drop(draw.expovariate(20), *bodies[number % len(bodies)])

        await asyncio.gather(*(one(number) for number in range(count)))
    return canaries


def _lag(server: Served) -> float:
    """Seconds from a reader's leaving to a standing engine."""
    with httpx2.stream("POST", f"{server.api}/chat/completions", json=LONG, timeout=60) as response:
        pieces = response.iter_raw()  # dropped, it would close the stream
        next(pieces)
    left = time.perf_counter()
    while httpx2.get(f"{server.address}/health", timeout=10).json()["num_turns"]:
        time.sleep(0.005)
    return time.perf_counter() - left


def idle(server: Served) -> float:
    """Wait until nothing runs; seconds."""
    started = time.perf_counter()
    while time.perf_counter() - started < 60:
        health = httpx2.get(f"{server.address}/health", timeout=10).json()
        if not any(health[name] for name in ("num_turns", "num_requests_running")):
            return time.perf_counter() - started
        time.sleep(0.05)
    raise RuntimeError(f"turns still run a minute after their readers left: {health}")


def answer(server: Served) -> str:
    """The canary's answer."""
    return _text(server.post("/v1/responses", CANARY).json())


def _text(response: dict[str, Any]) -> str:
    return "".join(
        part["text"]
        for item in response.get("output", ())
        if item["type"] == "message"
        for part in item["content"]
    )


def kills(count: int, draw: random.Random) -> dict[str, Any]:
    """Kill the server while it stores; look for what it acknowledged."""
    acknowledged: dict[str, str] = {}
    begun: set[str] = set()
    lost = altered = in_progress = 0
    starts = []
    with tempfile.TemporaryDirectory() as home:
        port = "0"
        for _ in range(count):
            started = time.perf_counter()
            with_port = ("--port", port) if port != "0" else ()
            server = Served(*with_port, home=Path(home)).wait()
            starts.append(time.perf_counter() - started)
            port = server.address.rpartition(":")[2]
            for known in draw.sample(sorted(acknowledged), min(40, len(acknowledged))):
                found = httpx2.get(f"{server.api}/responses/{known}", timeout=30)
                lost += found.status_code != 200
                altered += found.status_code == 200 and found.text != acknowledged[known]
            for known in begun - acknowledged.keys():
                found = httpx2.get(f"{server.api}/responses/{known}", timeout=30)
                if found.status_code == 200:
                    in_progress += found.json()["status"] in ("queued", "in_progress")
            begun.clear()
            asyncio.run(_store_until_killed(server, draw, acknowledged, begun))
        server = Served("--port", port, home=Path(home)).wait()
        for known, text in acknowledged.items():
            found = httpx2.get(f"{server.api}/responses/{known}", timeout=30)
            lost += found.status_code != 200
            altered += found.status_code == 200 and found.text != text
        server.stop()
    return {
        "kills": count,
        "acknowledged": len(acknowledged),
        "lost": lost,
        "altered": altered,
        "left_in_progress": in_progress,
        "start_s": {"median": round(statistics.median(starts), 2), "worst": round(max(starts), 2)},
    }


async def _store_until_killed(
    server: Served, draw: random.Random, acknowledged: dict[str, str], begun: set[str]
) -> None:
    """Ask for stored responses from several clients, and kill the server among them."""
    async with httpx2.AsyncClient(base_url=server.api, timeout=30) as client:

        async def ask(number: int) -> None:
            body = {"input": f"What is {number} + {number}?", "store": True, "seed": number}
            try:
                while True:
                    if number % 2:
                        response = (await client.post("/responses", json=body)).json()
                        response_id = response["id"]
                    else:
                        response_id = await _streamed(client, body, begun)
                    found = await client.get(f"/responses/{response_id}")
                    if found.status_code == 200:
                        acknowledged[response_id] = found.text
            except (httpx2.HTTPError, KeyError, ValueError):
                return  # it was killed

        known = len(acknowledged)
        asking = [asyncio.create_task(ask(number)) for number in range(6)]
        # a busy machine takes a while to answer at all
        while len(acknowledged) == known and not all(one.done() for one in asking):
            await asyncio.sleep(0.005)
        await asyncio.sleep(draw.uniform(0.0, 0.5))
        server.kill()
        await asyncio.gather(*asking)


async def _streamed(client: httpx2.AsyncClient, body: dict[str, Any], begun: set[str]) -> str:
    """A streamed response up to its terminal event; its id."""
    async with client.stream("POST", "/responses", json={**body, "stream": True}) as response:
        async for line in response.aiter_lines():
            if line.startswith("data: "):
                event = json.loads(line.removeprefix("data: "))
                if "response" in event:
                    response_id = str(event["response"]["id"])
                    begun.add(response_id)
                    if event["type"] == "response.completed":
                        return response_id
    raise ValueError("the stream ended early")


def engine_kills(count: int, draw: random.Random) -> dict[str, Any]:
    """Kill the engine under streams; every one must end with a terminal event."""
    ended = streams = 0
    backs, ends = [], []
    while len(backs) < count:
        with served("--no-store") as server:
            expected = answer(server)
            for _ in range(min(3, count - len(backs))):  # a fourth death would end the server
                kinds, seconds = asyncio.run(_streams_over_a_death(server, draw))
                streams += len(kinds)
                ended += sum(kind in ("response.failed", "response.completed") for kind in kinds)
                ends.append(seconds)
                began = time.perf_counter()
                while httpx2.get(f"{server.address}/health/ready", timeout=10).status_code != 200:
                    time.sleep(0.02)
                backs.append(time.perf_counter() - began)
                assert answer(server) == expected
    return {
        "engine_kills": len(backs),
        "streams": streams,
        "ended_with_a_terminal_event": ended,
        "error_event_after_s": round(max(ends), 3),
        "back_after_s": round(statistics.median(backs), 2),
    }


async def _streams_over_a_death(server: Served, draw: random.Random) -> tuple[list[str], float]:
    count = 8
    # a request that comes after the death is refused with 503, which is no stream
    all_begun = asyncio.Barrier(count + 1)
    async with httpx2.AsyncClient(base_url=server.api, timeout=60) as client:

        async def one() -> str:
            shape = {"type": "json_schema", "name": "n", "schema": NUMBERS}
            body = {
                "input": "Numbers?", "stream": True, "store": False, "text": {"format": shape},
            }  # fmt: skip
            kind = ""
            async with client.stream("POST", "/responses", json=body) as response:
                await all_begun.wait()
                async for line in response.aiter_lines():
                    if line.startswith("event: "):
                        kind = line.removeprefix("event: ")
            return kind

        running = [asyncio.create_task(one()) for _ in range(count)]
        await asyncio.wait_for(all_begun.wait(), 60)
        await asyncio.sleep(draw.uniform(0.05, 0.4))
        os.kill(server.engine_pid, signal.SIGKILL)
        killed = time.perf_counter()
        kinds = await asyncio.gather(*running)
        return list(kinds), time.perf_counter() - killed


if __name__ == "__main__":
    main()
