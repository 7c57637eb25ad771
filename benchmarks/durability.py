"""What does a killed store lose, and how fast is it? `python -m benchmarks.durability --kills N`.

A process writes responses, events and tokens and tells each acknowledgement; it is killed by
`kill -9` at a random moment and the file is read by another; N times, on one file.
"""

import argparse
import hashlib
import json
import os
import random
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ossia.store.database import Database
from ossia.store.responses import Responses, StoredResponse
from ossia.store.token_memory import TokenMemory

OWNER = "durability"
NUM_EVENTS = 3
LONGEST_SECONDS = 0.4
"""After the first acknowledgement, until the kill."""
KILLED_EARLY = 0.1
"""The share of processes that are killed while they open the store."""
SECONDS_TO_OPEN = 0.15


def text_of(name: str) -> str:
    """The text that belongs to a name: from some bytes to 60 KB, all of it checkable."""
    digest = hashlib.sha256(name.encode()).hexdigest()
    return digest * (1 + int(digest[:4], 16) % 1000 if digest[4] < "4" else 1)


def stored(response_id: str) -> StoredResponse:
    """A response that has just begun."""
    return StoredResponse(
        response_id=response_id,
        owner=OWNER,
        created_at=time.time(),
        status="in_progress",
        body=text_of(f"begun {response_id}"),
        turn="{}",
        previous_id=None,
        background=True,
    )


def tell(act: str, response_id: str) -> None:
    """One line; a pipe takes it whole or not at all."""
    os.write(sys.stdout.fileno(), f"{act} {response_id}\n".encode())


def write_until_killed(path: Path, num_writers: int, prefix: str) -> None:
    """Write and acknowledge without end, by many threads."""
    database = Database(path)
    responses, memory = Responses(database), TokenMemory(database)

    def write(writer: int) -> None:
        count = 0
        while True:
            response_id = f"{prefix}-{writer}-{count}"
            responses.begin(stored(response_id)).result()
            tell("begun", response_id)
            events = [(i, text_of(f"{i} {response_id}")) for i in range(NUM_EVENTS)]
            responses.append_events(response_id, events).result()
            tell("events", response_id)
            tokens = {f"call:{response_id}": text_of(f"tokens {response_id}")}
            remembered = memory.remember(OWNER, tokens, durable=True, response_id=response_id)
            end = {"status": "completed", "body": text_of(response_id), "turn": "[]"}
            responses.finish(response_id, **end).result()
            tell("finished", response_id)
            remembered.result()
            tell("tokens", response_id)
            if count % 4 == 0:
                tell("deleting", response_id)
                responses.delete(response_id, OWNER).result()
                tell("deleted", response_id)
            count += 1

    for writer in range(num_writers):
        threading.Thread(target=write, args=(writer,)).start()


class Found(NamedTuple):
    """What became of the acknowledged."""

    acknowledged: int
    lost: list[str]
    altered: list[str]


def killed_once(path: Path, num_writers: int, prefix: str, rng: random.Random) -> list[str]:
    """Start a writer, kill it at a random moment; the lines it told."""
    command = [sys.executable, "-m", "benchmarks.durability", "--write", str(path)]
    command += ["--writers", str(num_writers), "--prefix", prefix]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        if rng.random() < KILLED_EARLY:
            lines = []
            time.sleep(rng.random() * SECONDS_TO_OPEN)
            writer.kill()
        else:
            lines = [writer.stdout.readline()]
            seconds = rng.random() * LONGEST_SECONDS
            threading.Timer(seconds, writer.kill).start()
        lines += writer.stdout.readlines()
    if writer.returncode != -9:
        raise SystemExit(f"the writer ended by itself, with {writer.returncode}")
    return lines


def check(path: Path, lines: list[str]) -> Found:
    """Open the file again and look for everything that was acknowledged."""
    acts_of: dict[str, set[str]] = defaultdict(set)
    for line in lines:
        act, response_id = line.split()
        acts_of[response_id].add(act)
    found = Found(sum(len(acts - {"deleting"}) for acts in acts_of.values()), [], [])
    with closing(Database(path)) as database:
        responses, memory = Responses(database), TokenMemory(database)
        for response_id, acts in acts_of.items():
            stored_response = responses.get(response_id, OWNER).result()
            if stored_response is not None:
                if "deleted" in acts or not is_whole(stored_response, acts):
                    found.altered.append(response_id)
                check_events(responses, response_id, acts, found)
                check_tokens(memory, response_id, acts, found)
            elif "begun" in acts and "deleting" not in acts:
                found.lost.append(response_id)
        verdict = database.submit(_integrity).result()
    if verdict != [("ok",)]:
        found.altered.append(str(verdict))
    return found


def is_whole(stored_response: StoredResponse, acts: set[str]) -> bool:
    """Whether a response is one of the two things it may be: begun, or finished."""
    if stored_response.status == "completed":
        return stored_response.body == text_of(stored_response.response_id)
    begun = replace(stored(stored_response.response_id), created_at=stored_response.created_at)
    return "finished" not in acts and stored_response == begun


def check_events(responses: Responses, response_id: str, acts: set[str], found: Found) -> None:
    """Look for the events of a response that is there."""
    events = responses.events(response_id, OWNER, -1).result()
    if "events" in acts and len(events) < NUM_EVENTS:
        found.lost.append(f"events of {response_id}")
    if any(text != text_of(f"{i} {response_id}") for i, text in events):
        found.altered.append(f"events of {response_id}")


def check_tokens(memory: TokenMemory, response_id: str, acts: set[str], found: Found) -> None:
    """Look for the tokens of a response that is there."""
    key = f"call:{response_id}"
    tokens = memory.recall(OWNER, [key]).result().get(key)
    if "tokens" in acts and tokens is None:
        found.lost.append(f"tokens of {response_id}")
    if tokens not in (None, text_of(f"tokens {response_id}")):
        found.altered.append(f"tokens of {response_id}")


def kill(count: int, num_writers: int, seed: int, folder: Path) -> dict[str, object]:
    """Kill `count` writers on one file; what was acknowledged, lost and altered in all."""
    rng = random.Random(seed)
    path = folder / "store.sqlite3"
    acknowledged, lost, altered, longest = 0, [], [], 0.0
    lines: list[str] = []
    for i in range(count):
        lines += killed_once(path, num_writers, f"{seed}-{i}", rng)
        if i % 10 == 9 or i == count - 1:  # some kills fall upon the recovery of the one before
            began = time.perf_counter()
            Database(path).close()
            longest = max(longest, time.perf_counter() - began)
            found = check(path, lines)
            acknowledged += found.acknowledged
            lost += found.lost
            altered += found.altered
            lines = []
    return {
        "kills": count,
        "acknowledged": acknowledged,
        "lost": len(lost),
        "altered": len(altered),
        "examples": (lost + altered)[:5],
        "longest_open_seconds": round(longest, 3),
        "file_bytes": path.stat().st_size,
    }


def rate(num_writers: int, seconds: float, path: Path) -> dict[str, float]:
    """Responses begun and finished by some writers that each wait for every acknowledgement."""
    waits: list[float] = []
    with closing(Database(path)) as database:
        responses = Responses(database)
        num_commits = [0]
        database.submit(lambda connection: _count_commits(connection, num_commits)).result()
        ends_at = time.perf_counter() + seconds

        def write(writer: int) -> None:
            count = 0
            while time.perf_counter() < ends_at:
                response_id = f"{num_writers}-{writer}-{count}"
                end = {"status": "completed", "body": "x" * 2000, "turn": "x" * 2000}
                began = time.perf_counter()
                responses.begin(stored(response_id)).result()
                begun = time.perf_counter()
                responses.finish(response_id, **end).result()
                waits.extend((begun - began, time.perf_counter() - begun))
                count += 1

        run_all(num_writers, write)
    waits.sort()
    return {
        "writers": num_writers,
        "writes_per_second": round(len(waits) / seconds),
        "commits_per_second": round(num_commits[0] / seconds),
        "median_milliseconds": round(1000 * statistics.median(waits), 2),
        "p99_milliseconds": round(1000 * waits[int(0.99 * len(waits))], 2),
    }


def run_all(num_threads: int, work: Callable[[int], None]) -> None:
    """Run `work(0)`, `work(1)` ... at once, each in its thread."""
    threads = [threading.Thread(target=work, args=(i,)) for i in range(num_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _count_commits(connection: sqlite3.Connection, count: list[int]) -> None:
    """Count the commits that write something; those that only read wait for no disk."""
    wrote = [False]

    def see(statement: str) -> None:
        if statement == "COMMIT":
            count[0] += wrote[0]
            wrote[0] = False
        elif statement.startswith(("INSERT", "UPDATE")):
            wrote[0] = True

    connection.set_trace_callback(see)


def _integrity(connection: sqlite3.Connection) -> list[tuple[str]]:
    return connection.execute("PRAGMA integrity_check").fetchall()


def main() -> int:
    """Kill as often as asked and measure the rates; print what came out as JSON objects."""
    parser = argparse.ArgumentParser("python -m benchmarks.durability", description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--writers", type=int, default=8, help="threads of the killed process")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each rate")
    parser.add_argument("--folder", help="where to write: on a disk, not in memory")
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--prefix", default="", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.write:
        write_until_killed(arguments.write, arguments.writers, arguments.prefix)
        return 0
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        for num_writers in (1, 64):
            path = Path(folder) / f"{num_writers}.sqlite3"
            print(json.dumps(rate(num_writers, arguments.seconds, path)), flush=True)
        if arguments.kills:
            found = kill(arguments.kills, arguments.writers, arguments.seed, Path(folder))
            print(json.dumps(found))
            return 1 if found["lost"] or found["altered"] else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
