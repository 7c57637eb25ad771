import pytest

from ossia import LLM
from ossia.chat.events import Reply, ToolFinished
from ossia.chat.sync_tools import Tools
from ossia.errors import RequestError
from ossia.evals import agent
from ossia.evals.agent import AgentReport, Outcome, as_markdown, draw_tasks
from ossia.tools.python.toolkit import PythonToolkit
from ossia.tools.sessions import LazyToolkit
from ossia.tools.tool import ToolResult

KINDS = ["search and cite", "compute", "call a function"]


@pytest.fixture(scope="module")
def llm():
    with LLM() as model:
        yield model


@pytest.fixture
def tasks(tmp_path):
    return list(draw_tasks(6, tmp_path, None))


def ran(tools, name, arguments):
    [tool] = [each for each in tools.session.tools if each.spec.name == name]
    result = tools._thread.run(tool.call(arguments))
    return ToolFinished("c", name, arguments, result, 0.0)


def test_the_kinds_come_in_turn_and_are_always_the_same(tasks, tmp_path):
    assert [each.kind for each in tasks] == KINDS * 2
    again = draw_tasks(6, tmp_path, None)
    assert [each.question for each in again] == [each.question for each in tasks]


def test_an_answer_from_the_page_must_be_cited_where_it_stands(tasks, llm):
    task = tasks[0]
    entity = next(word for word in task.question.rstrip("?.").split() if word.istitle())
    with task.tools(llm) as tools:
        found = ran(tools, "browser.search", f'{{"query": "{entity}"}}')
        text = found.result.text
        assert entity.lower() in text.lower()
        for answer in ("I know it already.", f"{text} 【7†L2】", text.split("【")[0] + "【0†L2】"):
            assert not task.is_right(Reply(text=answer, tool_runs=[found]), tools)
        # whatever stands in the results of a search about the page is cited by its line
        page = " ".join(line.partition(": ")[2] for line in text.splitlines())
        right = [Reply(text=f"{page} 【0†L{line}】", tool_runs=[found]) for line in range(2, 12)]
        assert any(task.is_right(each, tools) for each in right)


def test_a_function_knows_what_was_asked_and_nothing_else(tasks, llm):
    task = tasks[2]
    with task.tools(llm) as tools:
        for tool in tools.session.tools:
            wrong = tools._thread.run(tool.call('{"no": "such argument"}'))
            assert wrong.is_error
        assert len(tools.specs) >= 1
    known = task.tools(llm).__enter__().session.tools[0].known
    [((name, arguments), text)] = list(known.items())[:1]
    with task.tools(llm) as tools:
        assert ran(tools, name, arguments).result == ToolResult(text=text)


def test_an_answer_without_a_call_is_no_success(tasks):
    for task in tasks[1:3]:
        assert not task.is_right(Reply(text="anything"), None)


def test_the_sums_are_by_kind_and_of_all():
    outcomes = [
        Outcome(kind="compute", question="a", answered="1", calls=("python 1",), right=True),
        Outcome(kind="compute", question="b", answered="", calls=(), right=False),
    ]
    report = AgentReport("low", outcomes)
    assert list(report.rows()) == [("compute", 2, 1, 1), ("all", 2, 1, 1)]
    assert "| all | 2 | 50.0 % |" in as_markdown(report)
    assert report.as_dict()["wrong"] == [
        {"kind": "compute", "asked": "b", "answered": "", "calls": []}
    ]


@pytest.mark.slow
def test_tasks_are_carried_out_with_the_real_tools(llm):
    try:
        Tools(LazyToolkit(PythonToolkit.start)).close()
    except RequestError as error:
        pytest.skip(str(error))
    report = agent.measure(llm, 3)
    assert [each.kind for each in report.outcomes] == [
        "search and cite",
        "compute",
        "call a function",
    ]
    assert all(each.answered or each.calls for each in report.outcomes)
