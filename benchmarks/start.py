"""How long `ossia` takes to answer, beside a Python that does nothing.

Rounds in which every command runs once, so that a busy moment meets all of them; the medians are
compared, and the best times beside them.

    python -m benchmarks.start --rounds 20
"""

import argparse
import os
import statistics
import subprocess
import sys
import time

from ossia.cli.commands.doctor import cpu

NOTHING = "python -c pass"
COMMANDS = {
    NOTHING: ["-c", "pass"],
    "ossia --help": ["-m", "ossia", "--help"],
    "ossia --version": ["-m", "ossia", "--version"],
    'ossia run "What is 37 + 48?"': ["-m", "ossia", "run", "What is 37 + 48?"],
}


def seconds(arguments: list[str]) -> float:
    """Time one process from its start to its end; bytecode is cached, as for every user."""
    settings = {name: os.environ[name] for name in os.environ if name != "PYTHONDONTWRITEBYTECODE"}
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, *arguments],
        check=True,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=settings,
    )
    return time.perf_counter() - began


def main() -> None:
    """Print a line for each command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, help="Runs of each command.")
    rounds = parser.parse_args().rounds
    machine = cpu("auto")
    print(f"{machine['name']}, {machine['threads']} threads, {machine['isa']}; {rounds} rounds")
    for arguments in COMMANDS.values():
        seconds(arguments)  # files are read and bytecode is written
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(rounds):
        for name, arguments in COMMANDS.items():
            times[name].append(seconds(arguments))
    middle, best = statistics.median(times[NOTHING]), min(times[NOTHING])
    for name, each in times.items():
        print(
            f"{name:30} {statistics.median(each) * 1000:7.1f} ms, "
            f"{statistics.median(each) / middle:5.1f} times Python; "
            f"best {min(each) * 1000:7.1f} ms, {min(each) / best:5.1f} times"
        )


if __name__ == "__main__":
    main()
