"""One word, one meaning: what a newcomer from another engine reads at first sight."""

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest

import ossia

ROOT = Path(__file__).parents[2]
HOUSE = Path(ossia.__file__).parent
PARTICIPLES = {"announced", "asked", "given", "held", "kept", "offered", "said", "told"}
"""Names that say what was done to a thing, not what it is."""
WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


def names_in(tree: ast.AST) -> set[str]:
    """Every name that the code gives to something, not what other libraries call their own."""
    found, theirs = set(), set()
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name):
                found.add(name)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                found.add("" if name.startswith("test_") else name)  # a test is a sentence
            case ast.ClassDef(name=name):
                found.add(name)
            case ast.keyword(arg=str(name)):
                found.add(name)
            case ast.ImportFrom(module=str(module), names=names):
                if module.partition(".")[0] not in {"ossia", "tests", "benchmarks"}:
                    theirs.update(alias.asname or alias.name for alias in names)
    return found - theirs


@pytest.mark.parametrize("folder", ["src", "tests", "benchmarks", "docs"])
def test_names_say_what_a_thing_is(folder):
    wrong = {
        f"{file.relative_to(ROOT)}: {name}"
        for file in (ROOT / folder).rglob("*.py")
        for name in names_in(ast.parse(file.read_text()))
        if "held_out" not in name.lower()  # machine learning's own word
        if PARTICIPLES & {word.lower() for word in WORD.findall(name)}
    }
    assert wrong == set()


def test_a_class_name_means_one_thing():
    homes = defaultdict(list)
    for file in HOUSE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ClassDef):
                homes[node.name].append(str(file.relative_to(HOUSE)))
    assert {name: files for name, files in homes.items() if len(files) > 1} == {}


def test_no_docstring_only_points_elsewhere():
    wrong = [
        f"{file.relative_to(HOUSE)}:{node.lineno} {node.name}"
        for file in HOUSE.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        if re.fullmatch(r"See `[\w.]+`\.?", (ast.get_docstring(node) or "").strip())
    ]
    assert wrong == []
