"""From Python: the embedded model searches and cites, computes, and calls a function."""

import pytest

from ossia import LLM, SamplingParams
from ossia.chat.sync_tools import Tools
from ossia.tools.browser.corpus import Corpus
from ossia.tools.browser.indexing import Index
from ossia.tools.browser.toolkit import BrowserToolkit
from ossia.tools.python.toolkit import PythonToolkit
from ossia.tools.sessions import LazyToolkit
from tests.agent_runs import CALLED, COMPUTED, FOUND, get_weather, needs_sandbox, write_pages

GREEDY = SamplingParams(temperature=0)


@pytest.fixture(scope="module")
def llm():
    with LLM("nano") as opened:
        yield opened


def test_it_searches_reads_and_cites(llm, tmp_path):
    path = tmp_path / "corpus.sqlite3"
    path.touch()
    with Index(path) as index:
        index.refresh(index.add(write_pages(tmp_path / "pages")))
    toolkit = BrowserToolkit(Corpus.open(path), count_tokens=llm.count_tokens)
    with Tools(toolkit) as tools:
        reply = llm.chat(FOUND.text, tools=tools, params=GREEDY)
        assert reply.text.startswith(FOUND.answer)
        assert reply.tool_runs[0].name == "browser.search"
        cursor, line = reply.text.split("【")[1].rstrip("】").split("†L")
        cited = tools.session.resolve(int(cursor), int(line))
    assert cited is not None
    assert cited[0] == "corpus://pages/gusten.md"


@pytest.mark.slow
@needs_sandbox
def test_it_computes_in_the_sandbox(llm):
    reply = llm.chat(COMPUTED.text, tools=[LazyToolkit(PythonToolkit.start)], params=GREEDY)
    assert [run.name for run in reply.tool_runs] == ["python"]
    assert reply.text == COMPUTED.answer


def test_it_calls_a_function(llm):
    reply = llm.chat(CALLED.text, tools=[get_weather], params=GREEDY)
    assert [(run.name, run.arguments) for run in reply.tool_runs] == [
        ("get_weather", '{"city":"Rome"}')
    ]
    assert reply.text == CALLED.answer
