"""From the command line: the embedded model searches and cites, and computes."""

import json

import pytest

from tests.agent_runs import COMPUTED, FOUND, needs_sandbox, write_pages


def test_it_searches_an_indexed_folder_and_cites(ossia, tmp_path):
    assert ossia("index", write_pages(tmp_path / "pages")).code == 0
    done = ossia("run", "--tool", "browser", "--temperature", "0", FOUND.text)
    assert done.code == 0
    assert FOUND.answer in done.out
    assert "【" in done.out
    assert "browser.search ran" in done.err + done.out


@pytest.mark.slow
@needs_sandbox
def test_it_computes_in_the_sandbox(ossia):
    done = ossia("run", "--tool", "python", "--temperature", "0", "--json", COMPUTED.text)
    assert done.code == 0
    report = json.loads(done.out)
    assert COMPUTED.answer in json.dumps(report)
