"""Settings of MCP servers: the usual form, and what is wrong with others."""

import json

import pytest

from ossia.errors import RequestError
from ossia.tools.mcp.settings import McpServer, filled, namespace, read_server_file, read_servers


def one(**settings):
    return {"mcpServers": {"s": settings}}


def test_reads_the_usual_form(tmp_path):
    file = tmp_path / "mcp.json"
    file.write_text(
        json.dumps(
            {
                "mcpServers": {
                    "files": {
                        "command": "server",
                        "args": ["--root", "$HOME; rm"],
                        "env": {"TOKEN": "${TOKEN}"},
                        "allowedTools": ["read"],
                        "approval": {"read": "never", "*": "always"},
                        "timeoutSeconds": 5,
                    },
                    "net-1": {
                        "type": "http",
                        "url": "https://mcp.example/x",
                        "headers": {"A": "b"},
                    },
                    "off": {"command": "never-started", "disabled": True},
                }
            }
        )
    )
    files, net = read_server_file(file)
    assert files == McpServer(
        name="files",
        command=("server", "--root", "$HOME; rm"),
        env={"TOKEN": "${TOKEN}"},
        allowed_tools=frozenset({"read"}),
        approval={"read": "never", "*": "always"},
        seconds=5,
    )
    assert (net.name, net.url, net.headers) == ("net-1", "https://mcp.example/x", {"A": "b"})
    assert [files.approval_of("read"), files.approval_of("x")] == ["never", "always"]
    assert net.approval_of("x") == "ask"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ([], r"MCP settings: found \[\]"),
        ({}, "mcpServers: found None"),
        ({"mcpServers": {str(n): {} for n in range(33)}}, "33 MCP servers; at most 32"),
        ({"mcpServers": {"a b": {}}}, "the name of an MCP server is 'a b'"),
        ({"mcpServers": {"python": {"command": "x"}}}, "is called python, which means something"),
        ({"mcpServers": {"a-b": {"command": "x"}, "a_b": {"command": "y"}}}, "two .* are a_b"),
        ({"mcpServers": {"s": 1}}, "MCP server s: found 1, expected an object"),
        (one(), "MCP server s needs a command or a url"),
        (one(command="x", url="https://a.example"), "needs a command or a url, one of them"),
        (one(command="x", headers={}), "has headers beside what it does not go with"),
        (one(url="https://a.example", env={}), "has env beside"),
        (one(command="x", shell=True), "has 'shell', which is not a setting"),
        (one(command="x", type="http"), "type of MCP server s: found 'http', expected stdio"),
        (one(url="https://a.example", type="sse"), "found 'sse', expected http or streamable-http"),
        (one(command=""), "command of MCP server s: found ''"),
        (one(command="x", args="y"), "args of MCP server s: found 'y'"),
        (one(command="x", args=["\0"]), "args of MCP server s"),
        (one(command="x", env={"A": 1}), "env of MCP server s: found a value that is not text"),
        (one(command="x", cwd=1), "cwd of MCP server s: found 1"),
        (one(command="x", disabled=1), "disabled of MCP server s: found 1"),
        (one(command="x", allowedTools="y"), "allowedTools of MCP server s"),
        (one(command="x", approval="yes"), "expected never, ask or always"),
        (one(command="x", timeoutSeconds=0), "expected seconds up to 600"),
        (one(command="x", timeoutSeconds=float("nan")), "expected seconds up to 600"),
        (one(command="x", timeoutSeconds=True), "expected seconds up to 600"),
    ],
)
def test_wrong_settings_are_refused_by_name(settings, message):
    with pytest.raises(RequestError, match=message):
        read_servers(settings)


@pytest.mark.parametrize(
    "url",
    [
        *("http://a.example/", "http://10.0.0.1/", "ftp://127.0.0.1/", "file:///etc/passwd"),
        *("https://", "https://a b/", "https://a\\b/", "https://é.example/", "https://[::1/"),
        *("https://a.example:99999/", "https://u:p@a.example/", "https://a.example:0/", 3, "x"),
        *("http://127.0.0.1.evil.example/", "http://localhost.evil.example/"),
    ],
)
def test_addresses_that_are_not_safe_are_refused(url):
    with pytest.raises(RequestError, match="url of MCP server s"):
        read_servers(one(url=url))


@pytest.mark.parametrize(
    "url", ["https://a.example:8443/mcp?x=1", "http://127.0.0.1:9/", "http://[::1]/", "http://localhost/"]
)  # fmt: skip
def test_https_and_this_computer_are_allowed(url):
    assert read_servers(one(url=url))[0].url == url


def test_secrets_are_named_not_written():
    texts = {"A": "Bearer ${TOKEN}", "B": "${env:TOKEN}${X}", "C": "$TOKEN {TOKEN}"}
    assert filled(texts, {"TOKEN": "t", "X": "${TOKEN}"}, server="s") == {
        "A": "Bearer t",
        "B": "t${TOKEN}",
        "C": "$TOKEN {TOKEN}",
    }
    with pytest.raises(RequestError, match="MCP server s needs the variable X; set it"):
        filled(texts, {"TOKEN": "t"}, server="s")


@pytest.mark.parametrize(
    ("name", "spelt"), [("a-b", "a_b"), ("1a", "_1a"), ("é.x/y", "__x_y"), ("n" * 90, "n" * 64)]
)
def test_names_are_spelt_as_a_prompt_can(name, spelt):
    assert namespace(name) == spelt


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file"),
        (b"{", "is not JSON"),
        (b" " * (2 << 20), "more than"),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path, content, message):
    file = tmp_path / "mcp.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(RequestError, match=message):
        read_server_file(file)
