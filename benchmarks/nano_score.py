"""What does nano get right? `python -m benchmarks.nano_score [-m nano] [--n 500] [--effort low]`.

Every item goes through the product, greedily; every share comes with its n and its Wilson 95 %
interval. Problems are of the test split: no sum or difference of their number family was trained.
"""

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, get_args

import numpy as np

from ossia import LLM, SamplingParams
from ossia.harmony.messages import Effort, Message
from ossia.train.tasks import arithmetic, small_talk
from ossia.train.tasks.columns import Problem
from ossia.train.tasks.task import Setting
from ossia.train.tasks.words import digits as draw_number

GREEDY = SamplingParams(temperature=0, max_tokens=400)
DATE = "2026-11-21"
MAX_DRAWS = 200_000
Exchange = tuple[Message, ...]
"""A question, perhaps the reasoning, the answer."""
SIDE_BY_SIDE = 8
"""Questions asked at a time: the engine runs them in one batch."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    task: str
    effort: Effort
    n: int
    right: int
    reasoning_tokens: float
    """The median."""

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the share that is right."""
        return wilson(self.right, self.n)

    def __str__(self) -> str:
        low, high = self.interval
        share = 100 * self.right / max(1, self.n)
        return (
            f"| {self.task} | {self.effort} | {self.n} | {share:.1f} % | "
            f"{100 * low:.1f} to {100 * high:.1f} % | {self.reasoning_tokens:g} |"
        )


def wilson(right: int, n: int) -> tuple[float, float]:
    """The interval in which the true share lies, 95 times of 100."""
    if not n:
        return 0.0, 1.0
    z2, share = 1.96**2, right / n
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = 1.96 * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return middle - half, middle + half


def unseen(digits: int, n: int, sign: str = "+-") -> list[Problem]:
    """Up to n different problems of two numbers of so many digits, none of them trained."""
    random = np.random.default_rng([7, digits])
    found: dict[Problem, None] = {}
    for _ in range(MAX_DRAWS):
        numbers = [draw_number(random, digits) for _ in range(2)]
        problem = Problem(numbers[0], sign[int(random.integers(len(sign)))], numbers[1])
        if problem.split == "test":
            found[problem] = None
        if len(found) == n:
            break
    return list(found)


def sums(digits: int, n: int, setting: Setting) -> list[Exchange]:
    """Unseen problems, in wordings of training or in those kept out of it."""
    random = np.random.default_rng(8)
    return [arithmetic.exchange(random, problem, setting) for problem in unseen(digits, n)]


def talk(n: int, setting: Setting) -> list[Exchange]:
    """Different small talk, up to n."""
    random = np.random.default_rng(9)
    return list({said[0].text: said for said in _talks(random, setting, 20 * n)}.values())[:n]


def _talks(random: np.random.Generator, setting: Setting, count: int) -> Iterator[Exchange]:
    for _ in range(count):
        yield small_talk.draw(random, setting).messages


def ask(llm: Any, task: str, setting: Setting, items: list[Exchange], failures: list[Any]) -> Row:
    """Put every question to the model; an answer is right when it is the expected text."""

    def answer(item: Exchange) -> Any:
        return llm.chat(item[0].text, effort=setting.effort, params=GREEDY, date=setting.date)

    right, tokens = 0, []
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        replies = list(pool.map(answer, items))
    for item, reply in zip(items, replies, strict=True):
        tokens.append(reply.usage.reasoning_tokens)
        if reply.text.strip() == item[-1].text:
            right += 1
        else:
            failures.append(
                {
                    "task": task,
                    "effort": setting.effort,
                    "question": item[0].text,
                    "expected": item[-1].text,
                    "text": reply.text,
                    "analysis": reply.analysis,
                }
            )
    return Row(task, setting.effort, len(items), right, statistics.median(tokens))


def rows(n: int, efforts: tuple[Effort, ...]) -> Iterator[tuple[str, Setting, list[Exchange]]]:
    """Every line of the table: its name, its setting, its items."""
    for effort in efforts:
        plain = Setting(effort=effort, split="test")
        reworded = Setting(effort=effort, split="test", column="reworded")
        for digits in (1, 2, 3):
            yield f"+ and -, {digits} digits, unseen", plain, sums(digits, n, plain)
        yield "+ and -, 2 digits, unseen, reworded", reworded, sums(2, n, reworded)
        dated = Setting(effort=effort, date=DATE)
        yield "small talk, trained wordings", dated, talk(n, dated)
        dated = Setting(effort=effort, date=DATE, column="reworded")
        yield "small talk, reworded", dated, talk(n, dated)


def show(write: Callable[[str], Any], table: list[Row]) -> None:
    """Write the table as Markdown."""
    write("| task | effort | n | right | 95 % interval | reasoning tokens (median) |")
    write("|---|---|---|---|---|---|")
    for row in table:
        write(str(row))


def main(argv: list[str] | None = None) -> None:
    """Print the table, or with --json all rows and every failure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-m", "--model", default="nano")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--n", type=int, default=500, help="items a row, where so many exist")
    parser.add_argument("--effort", choices=get_args(Effort), action="append")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(argv)
    began = time.monotonic()
    failures: list[Any] = []
    efforts = tuple(asked.effort or get_args(Effort))
    with LLM(asked.model, backend=asked.backend) as llm:
        table = []
        for task, setting, items in rows(asked.n, efforts):
            table.append(ask(llm, task, setting, items, failures))
            print(table[-1], file=sys.stderr)
    if asked.json:
        print(json.dumps({"rows": [asdict(row) for row in table], "failures": failures}, indent=2))
        return
    show(print, table)
    print(f"\n{time.monotonic() - began:.0f} s; the first failures:")
    for failure in failures[:10]:
        print(json.dumps(failure))


if __name__ == "__main__":
    main()
