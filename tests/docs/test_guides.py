"""What the guides tell people to type is typed here, with the embedded model."""

import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GUIDES = ["own-data", "privacy", "python", "serve", "settings", "speed", "tools"]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(name: str, *languages: str) -> list[str]:
    text = (ROOT / name).read_text()
    return [block for language, block in FENCE.findall(text) if language in languages]


def numbered(language: str) -> list:
    """Every block of a language in the guides, with a name for the report."""
    return [
        pytest.param(block, id=f"{constraint}-{number}")
        for constraint in GUIDES
        for number, block in enumerate(blocks(f"docs/{constraint}.md", language))
    ]


@pytest.fixture
def environment(tmp_path):
    """A home of its own, and ossia on the path."""
    scripts = tmp_path / "bin"
    scripts.mkdir()
    ossia = scripts / "ossia"
    ossia.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m ossia "$@"\n')
    ossia.chmod(0o755)
    path = f"{scripts}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "OSSIA_HOME": str(tmp_path / "home")}


@pytest.mark.slow
@pytest.mark.parametrize("block", numbered("sh"))
def test_what_a_guide_says_to_type_works(block, environment, tmp_path):
    place = tmp_path / "place"
    place.mkdir()
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("block", numbered("python"))
def test_python_in_a_guide_runs(block, environment):
    done = subprocess.run(
        [sys.executable, "-c", block], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def commands(name: str) -> list[str]:
    """Lines that call ossia, comments cut."""
    lines = "\n".join(blocks(name, "sh", "console")).replace("\\\n", " ").splitlines()
    calls = (line.partition("  #")[0].removeprefix("$ ").strip() for line in lines)
    return [call for call in calls if re.match(r"(\w+=\S+ )*ossia\b", call)]


@cache
def help_of(command: str) -> str:
    run = [sys.executable, "-m", "ossia", command, "--help"]
    return subprocess.run(run, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("page", ["README.md", *(f"docs/{constraint}.md" for constraint in GUIDES)])
def test_every_command_and_option_a_page_names_exists(page):
    for call in commands(page):
        words = call[call.index("ossia") :].split("|")[0].split()
        command = words[1]
        named = help_of(command)
        for option in (word for word in words[2:] if word.startswith("-") and word != "-"):
            assert re.search(rf"(?<![\w-]){re.escape(option.partition('=')[0])}\b", named), call


def test_the_first_thing_to_type_is_two_commands():
    first = FENCE.search((ROOT / "README.md").read_text().replace("```\n", "```text\n", 1))
    assert first is not None
    assert first[2] == "make run\nmake test\n"


def test_the_readme_is_read_in_three_minutes():
    assert len((ROOT / "README.md").read_bytes()) <= 8192


def test_every_guide_is_linked_and_checked():
    readme = (ROOT / "README.md").read_text()
    linked = set(re.findall(r"\(docs/([\w-]+)\.md\)", readme))
    other = {"ARCHITECTURE", "decisions", "numerics", "sandbox", "vocabulary"}
    assert linked | {"numerics"} == set(GUIDES) | other
    assert {page.stem for page in (ROOT / "docs").glob("*.md")} == set(GUIDES) | other
