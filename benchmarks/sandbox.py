"""How the walls around the python tool hold, and what they cost.

    python -m benchmarks.sandbox [--starts 20] [--calls 200] [--seconds 20] [--json]

For each tier that this machine has: the list of escapes (tests/tools/python/test_escapes.py), with
what was tried and what was held; the self-test; medians of the launcher's start, of the first and
of later cells; and a canary: the gaps between the pieces of an answer by nano, in a process of its
own, alone and while attacks run in several interpreters.
"""

import argparse
import asyncio
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ossia.tools.python.launcher_client import LauncherClient
from ossia.tools.python.sandboxes import SANDBOXES, InstalledPython, Limits, Sandbox
from ossia.tools.python.toolkit import PythonOptions, PythonToolkit, examine

ESCAPES = "tests/tools/python/test_escapes.py"
ATTACKS = (
    "while True: pass",
    "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
    "while True: print('y' * 100_000)",
    "held = []\nwhile True: held.append(bytes(1 << 20))",
    "for n in range(10**6): open(f'/mnt/data/{n}', 'w').close()",
)
CANARY = """
import sys, time
from ossia import LLM, SamplingParams
llm = LLM()
question = [{"role": "user", "content": "What is 472 + 385?"}]
print("ready", flush=True)
until, seed = time.monotonic() + float(sys.argv[1]), 0
while time.monotonic() < until:
    seed += 1
    last = time.perf_counter()
    for event in llm.stream(question, effort="high", params=SamplingParams(seed=seed)):
        now = time.perf_counter()
        print(now - last, flush=True)
        last = now
"""


def milliseconds(seconds: Sequence[float]) -> dict[str, float]:
    """Median, 99th percentile and longest."""
    ordered = sorted(seconds)
    found = {
        "median": statistics.median(ordered),
        "p99": ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))],
        "longest": ordered[-1],
    }
    return {"n": len(ordered)} | {name: round(1000 * each, 2) for name, each in found.items()}


def escapes() -> dict[str, dict[str, Any]]:
    """Run the list; by tier, the cases tried and those held."""
    with tempfile.TemporaryDirectory() as folder:
        report_file = Path(folder) / "report.xml"
        command = [
            sys.executable,
            "-m",
            "pytest",
            ESCAPES,
            "-q",
            "-n",
            "0",
            f"--junitxml={report_file}",
        ]
        subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
        tree = ElementTree.parse(report_file)
    tried: dict[str, Counter[str]] = {}
    failed: dict[str, set[str]] = {}
    for case in tree.iter("testcase"):
        name = case.attrib["name"]
        sandbox = next((each for each in SANDBOXES if each in name), None)
        if sandbox is None or case.find("skipped") is not None:
            continue
        number = match[1].upper() if (match := re.match(r"test_(x\d\d)_", name)) else "more"
        tried.setdefault(sandbox, Counter())[number] += 1
        if case.find("failure") is not None or case.find("error") is not None:
            failed.setdefault(sandbox, set()).add(name)
    return {
        sandbox: {
            "attempts": sum(counts.values()),
            "held": sum(counts.values()) - len(failed.get(sandbox, set())),
            "cases": sorted(set(counts) - {"more"}),
            "broken": sorted(failed.get(sandbox, set())),
        }
        for sandbox, counts in tried.items()
    }


async def costs(sandbox: Sandbox, starts: int, calls: int) -> dict[str, Any]:
    """What a tier costs: its launcher, a first cell, a later one."""
    found: dict[str, list[float]] = {"launcher": [], "first_cell": [], "later_cell": []}
    for _ in range(max(3, starts // 4)):
        began = time.perf_counter()
        launcher = await LauncherClient.start(sandbox, InstalledPython.here(), Limits(), ())
        found["launcher"].append(time.perf_counter() - began)
        await launcher.close()
    toolkit = await PythonToolkit.start(PythonOptions(sandbox=sandbox, secure_seconds=0))
    for _ in range(starts):
        session = await toolkit.open()
        began = time.perf_counter()
        await session.call("1")
        found["first_cell"].append(time.perf_counter() - began)
        await session.close()
    session = await toolkit.open()
    for _ in range(calls):
        began = time.perf_counter()
        await session.call("1")
        found["later_cell"].append(time.perf_counter() - began)
    await toolkit.close()
    return {name: milliseconds(each) for name, each in found.items()}


async def canary(sandbox: Sandbox, seconds: float) -> dict[str, Any]:
    """Gaps of a stream alone, then with an attack in each of a few interpreters."""
    alone = await gaps(seconds)
    toolkit = await PythonToolkit.start(PythonOptions(sandbox=sandbox))

    async def attack(code: str) -> int:
        session, times = await toolkit.open(), 0
        while True:
            await session.call(code)
            times += 1

    attacks = [asyncio.create_task(attack(code)) for code in ATTACKS]
    beside = await gaps(seconds)
    for each in attacks:
        each.cancel()
    await asyncio.gather(*attacks, return_exceptions=True)
    await toolkit.close()
    ratio = beside["p99"] / alone["p99"]
    return {"alone": alone, "beside_attacks": beside, "p99_ratio": round(ratio, 2)}


async def gaps(seconds: float) -> dict[str, float]:
    """Milliseconds between pieces of answers of nano, in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CANARY, str(seconds), stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip
    written, _ = await process.communicate()
    lines = written.decode().split()
    return milliseconds([float(line) for line in lines[2:]])  # ready, and the first piece


async def measure(sandbox: Sandbox, args: argparse.Namespace) -> dict[str, Any]:
    """One tier, but for the escapes."""
    report = await examine(PythonOptions(sandbox=sandbox))
    if not report.passed:
        return {"not_here": report.reason}
    return {
        "self_test": {
            "probes": len(report.probes),
            "held": sum(each.passed for each in report.probes),
            "seconds": round(report.seconds, 3),
        },
        "milliseconds": await costs(sandbox, args.starts, args.calls),
        "canary": await canary(sandbox, args.seconds),
    }


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--starts", type=int, default=20)
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    tried = escapes()
    found: dict[str, Any] = {
        "machine": f"{platform.system()} {platform.release()} {platform.machine()}",
        "user": os.getuid(),
        "load": os.getloadavg()[0],
    }
    for sandbox in SANDBOXES:
        found[sandbox] = asyncio.run(measure(sandbox, args)) | {"escapes": tried.get(sandbox)}
    if args.json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        if not isinstance(value, dict):
            print(f"{name:12} {value}")
            continue
        for key, each in value.items():
            print(f"{name:12} {key:14} {json.dumps(each)}")


if __name__ == "__main__":
    main()
