"""A stranger's words about tools: shown as they are, named so that nothing clashes."""

import dataclasses
import os
import stat

import pytest

from ossia.errors import StoreError
from ossia.tools.mcp.listing import (
    MAX_DESCRIPTION_CHARS,
    MAX_TOOLS,
    ServerTool,
    TrustStore,
    list_tools,
    visible,
)
from ossia.tools.mcp.settings import McpServer

SERVER = McpServer(name="s-1", command=("x",), approval={"safe": "never"})


def tool(name="t", description="", schema=None, **more):
    return ServerTool(name=name, description=description, schema=schema or {}, **more)


def specs(*tools, server=SERVER):
    found, problems = list_tools(server, tools)
    return {each.listed.name: each.spec for each in found}, problems


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("plain é 日本 😀\n\t", "plain é 日本 😀\n\t"),
        ("\x1b[31m\x07", "<U+001B>[31m<U+0007>"),
        ("a\u202eb\u2066", "a<U+202E>b<U+2066>"),
        ("\u200b\ufeff\u00ad", "<U+200B><U+FEFF><U+00AD>"),
        ("\U000e0041\U000e0100\ufe00", "<U+E0041><U+E0100><U+FE00>"),
        ("\u2028\ud800\u3164", "<U+2028><U+D800><U+3164>"),
    ],
)
def test_unseen_characters_are_made_visible(text, seen):
    assert visible(text) == seen


def test_names_are_mapped_and_never_clash():
    found, problems = specs(tool("a-b"), tool("a.b"), tool("a_b"), tool("1"), tool(""))
    assert [spec.name for spec in found.values()] == [
        *("s_1.a_b", "s_1.a_b_2", "s_1.a_b_3", "s_1._1", "s_1._"),
    ]
    assert problems == ()


def test_labels_follow_what_a_tool_may_do():
    found, _ = specs(tool("any"), tool("reader", is_read_only=True), tool("safe"))
    reads = {"reads_untrusted", "reads_private"}
    assert found["any"].labels == reads | {"external_effect"}
    assert found["reader"].labels == found["safe"].labels == reads
    assert [spec.approval for spec in found.values()] == ["ask", "ask", "never"]


def test_schemas_are_trimmed_and_an_empty_one_is_none():
    schema = {
        "type": "object",
        "title": "Args",
        "properties": {"a": {"type": ["string", "null"], "default": None, "title": "A"}},
        "required": ["a"],
    }
    found, _ = specs(tool("full", schema=schema), tool("empty", schema={"type": "object"}))
    assert found["full"].parameters == {
        "type": "object",
        "properties": {"a": {"type": ["string", "null"]}},
        "required": ["a"],
    }
    assert found["empty"].parameters is None


def deep(levels):
    schema = {"type": "string"}
    for _ in range(levels):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "array"}, "of type 'array'"),
        (deep(200), "nests too deep"),
        (deep(20), "nests deeper than 16"),
        ({"type": "object", "properties": {"a\u202e": {}}}, "its schema has the name 'a<U+202E>'"),
        ({"type": "object", "properties": {"a": {"$ref": "https://evil.example"}}}, "refers to"),
        ({"type": "object", "properties": {"a": {"$ref": "#"}}}, "refers to itself"),
        ({"type": "object", "description": "x" * 99999, "enum": ["y" * 99999]}, "more than 65536"),
    ],
)
def test_a_tool_that_cannot_be_told_is_left_out_and_named(schema, message):
    found, (problem,) = specs(tool("bad\x1b", schema=schema), tool("good"))
    assert list(found) == ["good"]
    assert problem.startswith("s-1: tool bad<U+001B> is left out: ")
    assert message in problem


def test_only_allowed_tools_are_offered():
    server = dataclasses.replace(SERVER, allowed_tools=frozenset({"a", "gone"}))
    found, problems = specs(tool("a"), tool("b"), server=server)
    assert list(found) == ["a"]
    assert problems == ("s-1 has no tool 'gone'",)


def test_too_much_is_cut():
    found, problems = specs(*(tool(str(n), "x" * 9999) for n in range(MAX_TOOLS + 5)))
    assert len(found) == MAX_TOOLS
    assert problems == (f"s-1 has more than {MAX_TOOLS} tools; name allowedTools",)
    assert len(found["0"].description) == MAX_DESCRIPTION_CHARS


def test_a_fingerprint_tells_any_change():
    before = tool("a", "b", {"c": 1})
    others = [
        *(tool("x", "b", {"c": 1}), tool("a", "x", {"c": 1}), tool("a", "b", {"c": 2})),
        tool("a", "b", {"c": 1}, is_read_only=True),
    ]
    assert before.fingerprint == tool("a", "b", {"c": 1}).fingerprint
    assert before.fingerprint not in {each.fingerprint for each in others}


def test_an_unknown_tool_is_not_changed_a_known_one_may_be(tmp_path):
    path = tmp_path / "folder" / "known.json"
    trusted = TrustStore(path)
    assert not trusted.is_changed("s.t", "1")
    trusted.learn({"s.t": "1"})
    again = TrustStore(path)
    assert (again.is_changed("s.t", "1"), again.is_changed("s.t", "2")) == (False, True)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(os.listdir(path.parent)) == [".known.json.lock", "known.json"]


def test_what_another_process_learnt_is_not_forgotten(tmp_path):
    path = tmp_path / "known.json"
    first, second = TrustStore(path), TrustStore(path)
    first.learn({"s.first": "1"})
    second.learn({"s.second": "1"})
    assert second.is_changed("s.first", "2")
    assert TrustStore(path).is_changed("s.first", "2")


def test_what_is_known_already_is_not_written_again(tmp_path):
    trusted = TrustStore(tmp_path / "known.json")
    trusted.learn({"s.t": "1"})
    (tmp_path / "known.json").unlink()
    trusted.learn({"s.t": "1"})
    trusted.learn({})
    assert os.listdir(tmp_path) == [".known.json.lock"]


@pytest.mark.parametrize("content", ["{", "[]", '{"a": 1}'])
def test_a_damaged_file_is_refused(tmp_path, content):
    path = tmp_path / "known.json"
    path.write_text(content)
    with pytest.raises(StoreError, match=r"known\.json .*delete it"):
        TrustStore(path)


def test_a_disk_that_refuses_is_said_so(tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    trusted = TrustStore(tmp_path / "known.json")
    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(StoreError, match="cannot be written: .*No space left"):
        trusted.learn({"s.t": "1"})
    assert os.listdir(tmp_path) == [".known.json.lock"]
