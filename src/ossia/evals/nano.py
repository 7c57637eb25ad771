"""The nano suite: accuracy by task, column and effort, with confidence intervals.

Counts the outcomes of `replay`, cell by cell.
"""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from ossia.chat.llm import LLM
from ossia.evals.nano_cells import EFFORTS, SEED, Cell, items
from ossia.evals.replay import ReplayResult, replay
from ossia.harmony.messages import Conversation, Message
from ossia.tasks.task import seeded

SIDE_BY_SIDE = 8
"""Dialogues replayed at once: the engine runs them in one batch."""
NUM_TRANSCRIPTS = 10
Z = 1.96
"""The 97.5 % quantile of the normal distribution."""


def wilson(right: int, n: int) -> tuple[float, float]:
    """The 95 % confidence interval of a share of `right` among n (Wilson, 1927)."""
    if not n:
        return 0.0, 1.0
    z2, share = Z**2, right / n
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return max(0.0, middle - half), min(1.0, middle + half)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of the table."""

    cell: Cell
    n: int
    right: int
    reasoning_tokens: float
    """The median."""
    due: int
    """Number of calls, as the next three."""
    begun: int
    whole: int
    exact: int
    values: int
    """Answers that a page contains."""
    found: int
    valid: int | None
    """Answers that fit their response format."""
    valid_free: int | None
    """Answers that fit their response format, without constrained decoding."""

    def as_dict(self) -> dict[str, Any]:
        """The values as JSON."""
        low, high = wilson(self.right, self.n)
        return {
            "task": self.cell.task,
            "column": self.cell.column,
            "effort": self.cell.effort,
            "n": self.n,
            "right": self.right,
            "share": self.right / max(1, self.n),
            "interval": [low, high],
            "reasoning_tokens_median": self.reasoning_tokens,
            "calls_due": self.due,
            "calls_begun": self.begun,
            "calls_whole": self.whole,
            "calls_exact": self.exact,
            "values_due": self.values,
            "values_found": self.found,
            "valid": self.valid,
            "valid_free": self.valid_free,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class NanoReport:
    """The rows, a comparison of efforts, and sample dialogues."""

    rows: tuple[Row, ...]
    pairs: int
    """Problems that were measured at every effort."""
    rising: int
    """How many of them have more reasoning at medium than low, and at high than medium."""
    transcripts: tuple[dict[str, Any], ...]

    def as_dict(self) -> dict[str, Any]:
        """The values as JSON."""
        return {
            "rows": [row.as_dict() for row in self.rows],
            "efforts": {
                "pairs": self.pairs,
                "rising": self.rising,
                "interval": list(wilson(self.rising, self.pairs)),
            },
            "transcripts": list(self.transcripts),
        }


def measure(
    llm: LLM, cells: Sequence[Cell], n: int, on_row: Callable[[Row], None] = lambda row: None
) -> NanoReport:
    """Replay n dialogues of every cell; calls `on_row` with each row."""
    rows, lengths = [], {}
    played_all: list[tuple[Cell, Conversation, ReplayResult]] = []
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        for cell in cells:
            drawn = items(cell, n)
            played = list(pool.map(partial(replay, llm), drawn))
            free = None
            if drawn and drawn[0].response_formats:
                free = sum(
                    bool(each.valid)
                    for each in pool.map(partial(replay, llm, constrained=False), drawn)
                )
            rows.append(_row(cell, played, free))
            on_row(rows[-1])
            lengths[cell] = [each.reasoning_tokens for each in played]
            played_all += [(cell, *pair) for pair in zip(drawn, played, strict=True)]
    pairs, rising = _compare_efforts(lengths)
    return NanoReport(
        rows=tuple(rows), pairs=pairs, rising=rising, transcripts=_transcripts(played_all)
    )


def _row(cell: Cell, played: list[ReplayResult], free: int | None) -> Row:
    return Row(
        cell=cell,
        n=len(played),
        right=sum(each.right for each in played),
        reasoning_tokens=statistics.median(each.reasoning_tokens for each in played)
        if played
        else 0.0,
        due=sum(each.num_due for each in played),
        begun=sum(each.num_begun for each in played),
        whole=sum(each.num_whole for each in played),
        exact=sum(each.num_exact for each in played),
        values=sum(each.found is not None for each in played),
        found=sum(bool(each.found) for each in played),
        valid=None if free is None else sum(bool(each.valid) for each in played),
        valid_free=free,
    )


def _compare_efforts(lengths: dict[Cell, list[int]]) -> tuple[int, int]:
    """Count the problems measured at every effort, and those whose reasoning grew with it."""
    pairs = rising = 0
    for cell, low in lengths.items():
        others = [
            lengths.get(Cell(task=cell.task, column=cell.column, effort=effort))
            for effort in EFFORTS[1:]
        ]
        if cell.effort != EFFORTS[0] or None in others:
            continue
        for one, two, three in zip(low, *filter(None, others), strict=True):
            pairs += 1
            rising += one < two < three
    return pairs, rising


def _transcripts(
    played: list[tuple[Cell, Conversation, ReplayResult]],
) -> tuple[dict[str, Any], ...]:
    """Draw sample dialogues, whether correct or not."""
    chosen = seeded(SEED).permutation(len(played))[:NUM_TRANSCRIPTS]
    return tuple(_transcript(*played[int(at)]) for at in chosen)


def _transcript(cell: Cell, conversation: Conversation, played: ReplayResult) -> dict[str, Any]:
    question = [each for each in conversation.messages if each.role == "user"][-1]
    return {
        "task": cell.task,
        "column": cell.column,
        "effort": cell.effort,
        "seed": SEED,
        "instructions": conversation.instructions,
        "functions": [each.name for each in conversation.functions],
        "asked": question.text,
        "said": [_line(each) for each in played.replies],
        "right": played.right,
        "expected": conversation.messages[-1].text,
    }


def _line(message: Message) -> str:
    name = message.name or message.recipient or message.channel
    return f"{name}: {message.text}"


def as_markdown(report: NanoReport) -> str:
    """The report as a Markdown table."""
    lines = [
        "| task | column | effort | n | right | 95 % interval | reasoning (median) | notes |",
        "|---|---|---|---|---|---|---|---|",
        *map(line, report.rows),
        "",
        f"Reasoning grew from low to medium to high at {report.rising} of {report.pairs} problems.",
    ]
    return "\n".join(lines)


def line(row: Row) -> str:
    """The row as a line of Markdown."""
    low, high = wilson(row.right, row.n)
    cell = row.cell
    return (
        f"| {cell.task} | {cell.column} | {cell.effort} | {row.n} | "
        f"{100 * row.right / max(1, row.n):.1f} % | {100 * low:.1f} to {100 * high:.1f} % | "
        f"{row.reasoning_tokens:g} | {notes(row.as_dict())} |"
    )


def notes(row: Mapping[str, Any]) -> str:
    """Counts of calls, values and schemas beside a line of `Row.as_dict`."""
    remarks = []
    if row["calls_due"]:
        begun, whole, exact = (row[f"calls_{each}"] for each in ("begun", "whole", "exact"))
        remarks.append(f"{row['calls_due']} calls due: {begun} begun, {whole} whole, {exact} exact")
    if row["values_due"]:
        remarks.append(f"the page's value: {row['values_found']} of {row['values_due']}")
    if row["valid"] is not None:
        remarks.append(f"fits its schema: {row['valid']}; not held to it: {row['valid_free']}")
    return "; ".join(remarks)
