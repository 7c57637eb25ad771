"""Over the Responses API, by OpenAI's client: it searches and cites, computes, calls a function."""

import json

import pytest
from openai import AsyncOpenAI

from ossia.tools.browser.corpus import Corpus
from ossia.tools.browser.indexing import Index
from ossia.tools.browser.toolkit import BrowserToolkit
from ossia.tools.python.toolkit import PythonToolkit
from ossia.tools.sessions import LazyToolkit
from tests.agent_runs import CALLED, COMPUTED, FOUND, get_weather, needs_sandbox, write_pages
from tests.server.test_server import ready, run

FUNCTION = {
    "type": "function",
    "name": "get_weather",
    "description": "Get the weather.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
    "strict": False,
}


def responding(requests, **serving):
    """The responses to requests, each made with the one before at hand."""

    async def test(client, server, drain):
        await ready(client)
        made = []
        async with AsyncOpenAI(api_key="none", base_url=f"{client.base_url}/v1") as openai:
            for request in requests:
                fields = request(made[-1] if made else None)
                made.append(await openai.responses.create(model="nano", temperature=0, **fields))
        return made

    return run(test, **serving)[0]


@pytest.mark.slow
def test_it_searches_reads_and_cites(tmp_path):
    path = tmp_path / "corpus.sqlite3"
    path.touch()
    with Index(path) as index:
        index.refresh(index.add(write_pages(tmp_path / "pages")))

    async def start():
        return BrowserToolkit(Corpus.open(path), count_tokens=len)

    [made] = responding(
        [lambda before: {"input": FOUND.text, "tools": [{"type": "web_search"}]}],
        toolkits={"browser": LazyToolkit(start)},
    )
    assert made.output_text.startswith(FOUND.answer)
    assert "web_search_call" in [item.type for item in made.output]
    [citation] = made.output[-1].content[0].annotations
    assert citation.url == "corpus://pages/gusten.md"


@pytest.mark.slow
@needs_sandbox
def test_it_computes_in_the_sandbox():
    interpreter = {"type": "code_interpreter", "container": {"type": "auto"}}
    [made] = responding(
        [lambda before: {"input": COMPUTED.text, "tools": [interpreter]}],
        toolkits={"python": LazyToolkit(PythonToolkit.start)},
    )
    assert made.output_text == COMPUTED.answer
    assert "code_interpreter_call" in [item.type for item in made.output]


@pytest.mark.slow
def test_it_calls_a_function_and_reads_its_result():
    def answer(before):
        [call] = [item for item in before.output if item.type == "function_call"]
        result = {
            "type": "function_call_output",
            "call_id": call.call_id,
            "output": get_weather(**json.loads(call.arguments)),
        }
        return {"input": [result], "previous_response_id": before.id, "tools": [FUNCTION]}

    made = responding([lambda before: {"input": CALLED.text, "tools": [FUNCTION]}, answer])
    assert made[1].output_text == CALLED.answer
