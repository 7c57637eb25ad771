"""The agent suite: tasks that need real tools: search, python, functions.

Uses nano's tasks; nothing is replayed, every result comes from the tool itself.
"""

import json
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ossia.chat.events import Reply
from ossia.chat.llm import LLM
from ossia.chat.sync_tools import Tools
from ossia.engine.request import SamplingParams
from ossia.evals.nano import wilson
from ossia.harmony.messages import FUNCTIONS, Conversation, Effort
from ossia.tasks.nano import functions, python_tool, search
from ossia.tasks.nano.pages import HELD_OUT, Fact, FactPage, draw_page
from ossia.tasks.task import (
    Draw,
    Random,
    TaskSettings,
    Undrawable,
    draw_of_split,
    pick,
    seeded,
    split_of,
)
from ossia.tools.browser.corpus import Corpus
from ossia.tools.browser.indexing import Index
from ossia.tools.browser.toolkit import BrowserToolkit
from ossia.tools.python.toolkit import PythonToolkit
from ossia.tools.sessions import LazyToolkit
from ossia.tools.tool import ToolResult, ToolSpec

SEED = 11
GREEDY = SamplingParams(temperature=0, max_tokens=400)
CITED = re.compile(r"【(\d+)†L(\d+)")
PAGES = 3
"""Pages in the corpus of a task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentTask:
    """A question, its tools, and the check of its answer."""

    kind: str
    question: str
    tools: Callable[[LLM], AbstractContextManager[Tools]]
    """The tools of the task."""
    is_right: Callable[[Reply, Tools], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The outcome of one task."""

    kind: str
    question: str
    answered: str
    calls: tuple[str, ...]
    right: bool


@dataclass(slots=True)
class AgentReport:
    """The outcomes of all tasks, and their sums by kind."""

    effort: Effort
    outcomes: list[Outcome] = field(default_factory=list)

    def rows(self) -> Iterator[tuple[str, int, int, int]]:
        """Kind, tasks, correct ones, calls; the last row is the total."""
        for kind in (*dict.fromkeys(each.kind for each in self.outcomes), "all"):
            mine = [each for each in self.outcomes if kind in (each.kind, "all")]
            right = sum(each.right for each in mine)
            yield kind, len(mine), right, sum(len(each.calls) for each in mine)

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {
            "rows": [
                {
                    "kind": kind,
                    "n": n,
                    "right": right,
                    "share": right / max(1, n),
                    "interval": list(wilson(right, n)),
                    "calls": calls,
                }
                for kind, n, right, calls in self.rows()
            ],
            "wrong": [
                {"kind": each.kind, "asked": each.question, "answered": each.answered,
                 "calls": list(each.calls)}
                for each in self.outcomes
                if not each.right
            ],
        }  # fmt: skip


def as_markdown(report: AgentReport) -> str:
    """The report as a Markdown table."""
    lines = [
        f"| task, {report.effort} effort | n | right | 95 % interval | calls run |",
        "|---|---|---|---|---|",
    ]
    for kind, n, right, calls in report.rows():
        low, high = wilson(right, n)
        share = 100 * right / max(1, n)
        interval = f"{100 * low:.1f} to {100 * high:.1f} %"
        lines.append(f"| {kind} | {n} | {share:.1f} % | {interval} | {calls} |")
    return "\n".join(lines)


def measure(llm: LLM, n: int, *, effort: Effort = "medium") -> AgentReport:
    """Run n held-out tasks, a third of each kind, with greedy decoding.

    Args:
        llm: the model.
        n: tasks in all.
        effort: of the model.

    Raises:
        RequestError: Python cannot be isolated on this machine.
    """
    report = AgentReport(effort)
    with (
        tempfile.TemporaryDirectory(prefix="ossia-") as folder,
        Tools(LazyToolkit(PythonToolkit.start)) as python,
    ):
        for task in draw_tasks(n, Path(folder), python):
            report.outcomes.append(_carry_out(llm, task, effort))
    return report


def draw_tasks(n: int, folder: Path, python: Tools) -> Iterator[AgentTask]:
    """Generate the tasks, kinds in turn; writes pages under `folder`."""
    random = seeded(SEED)
    settings = TaskSettings(effort="medium", split="test")
    kinds: Sequence[Callable[[], AgentTask]] = (
        lambda: _search_task(random, settings, folder),
        lambda: _python_task(random, settings, python),
        lambda: _function_task(random, settings),
    )
    for number in range(n):
        yield kinds[number % len(kinds)]()


def _carry_out(llm: LLM, task: AgentTask, effort: Effort) -> Outcome:
    with task.tools(llm) as tools:
        reply = llm.chat(task.question, tools=tools, effort=effort, params=GREEDY)
        right = reply.finish_reason == "stop" and task.is_right(reply, tools)
    return Outcome(
        kind=task.kind,
        question=task.question,
        answered=reply.text,
        calls=tuple(f"{each.name} {each.arguments}" for each in reply.tool_runs),
        right=right,
    )


def _search_task(random: Random, settings: TaskSettings, folder: Path) -> AgentTask:
    """Generate a question about one of a few pages in a folder."""
    host = "pages"
    target, fact = draw_of_split(
        random, settings.split, partial(_draw_fact, host), lambda drawn: split_of(drawn[0].entity)
    )
    place = Path(tempfile.mkdtemp(dir=folder)) / host
    place.mkdir()
    for page in (target, *(draw_page(random, host) for _ in range(PAGES - 1))):
        (place / page.file).write_text("\n".join(page.lines) + "\n", encoding="utf-8")
    wording = pick(random, search.WORDINGS[:-2])

    def is_right(reply: Reply, tools: Tools) -> bool:
        cited = CITED.search(reply.text)
        if fact.value not in reply.text or cited is None or not reply.tool_runs:
            return False
        found = tools.session.resolve(int(cited[1]), int(cited[2]))
        return found is not None and found[0] == target.url

    return AgentTask(
        kind="search and cite",
        question=wording.format(relation=fact.relation, entity=target.entity),
        tools=partial(_browser, place),
        is_right=is_right,
    )


def _draw_fact(host: str, random: Random) -> tuple[FactPage, Fact]:
    """Draw a page and one of its facts, of the trained kinds."""
    while True:
        page = draw_page(random, host)
        facts = [each for each in page.facts if each.relation not in HELD_OUT]
        if facts:
            return page, pick(random, facts)


def _browser(place: Path, llm: LLM) -> Tools:
    path = place.with_suffix(".sqlite3")
    path.touch()
    with Index(path) as index:
        index.refresh(index.add(place))
    return Tools(BrowserToolkit(Corpus.open(path), count_tokens=llm.count_tokens))


def _python_task(random: Random, settings: TaskSettings, python: Tools) -> AgentTask:
    """Generate a computation."""
    question, answer, _ = _draw_single_turn(random, settings, python_tool.draw)

    return AgentTask(
        kind="compute",
        question=question,
        tools=lambda llm: nullcontext(python),
        is_right=partial(_is_answer, answer),
    )


def _function_task(random: Random, settings: TaskSettings) -> AgentTask:
    """Generate a function call; only the expected arguments have a result."""
    question, answer, conversation = _draw_single_turn(random, settings, functions.draw)
    calls = [each for each in conversation.messages if each.recipient is not None]
    results = [each for each in conversation.messages if each.role == "tool"]
    known = {
        (call.recipient, _canonical_json(call.text)): back.text
        for call, back in zip(calls, results, strict=True)
    }
    services = [
        Service(
            ToolSpec(
                name=f"{FUNCTIONS}.{each.name}",
                description=each.description,
                parameters=each.parameters,
            ),
            known,
        )
        for each in conversation.functions
    ]

    return AgentTask(
        kind="call a function",
        question=question,
        tools=lambda llm: Tools(*services),
        is_right=partial(_is_answer, answer),
    )


def _is_answer(answer: str, reply: Reply, tools: Tools) -> bool:
    """Whether a tool was run, and the answer is correct."""
    return bool(reply.tool_runs) and reply.text.strip() == answer


@dataclass(frozen=True, slots=True)
class Service:
    """A function with results for some arguments; any others are an error."""

    spec: ToolSpec
    known: dict[tuple[str | None, str], str]
    """Results by name and arguments."""

    async def call(self, arguments: str) -> ToolResult:
        """Look up the result."""
        found = self.known.get((self.spec.name, _canonical_json(arguments)))
        if found is None:
            return ToolResult(text='{"error":"not found"}', is_error=True)
        return ToolResult(text=found)


def _canonical_json(arguments: str) -> str:
    """Normalise JSON, so that equal values are equal texts."""
    try:
        return json.dumps(json.loads(arguments), sort_keys=True)
    except ValueError:
        return arguments


def _draw_single_turn(
    random: Random, settings: TaskSettings, draw: Draw
) -> tuple[str, str, Conversation]:
    """A question of one turn that needs a tool, its answer, and the dialogue."""
    while True:
        try:
            conversation = draw(random, settings)
        except Undrawable:
            continue
        questions = [each for each in conversation.messages if each.role == "user"]
        needs_tool = any(each.role == "tool" for each in conversation.messages)
        if len(questions) == 1 and needs_tool:
            return questions[0].text, conversation.messages[-1].text, conversation
