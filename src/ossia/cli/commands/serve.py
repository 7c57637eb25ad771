"""`ossia serve`: serve a model over OpenAI's API."""

import os
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ossia.cli.commands.ps import RunningServer, registered
from ossia.cli.options import MachineOptions, ModelOptions, load_options, spread, tokens
from ossia.cli.server_tools import ToolChoices
from ossia.cli.terminal.progress import loading
from ossia.cli.terminal.terminal import introduce, say
from ossia.errors import RequestError
from ossia.files import state_folder
from ossia.tools.catalog import CountTokens

if TYPE_CHECKING:
    from ossia.harmony.tokenizer import Tokenizer
    from ossia.providers.provider import Provider
    from ossia.server.app import Serving
    from ossia.server.http.listen import Listening
    from ossia.server.mcp_endpoint import McpEndpoint
    from ossia.store.api_keys import KeyRing

EXAMPLES = """
ossia serve
ossia serve -m openai/gpt-oss-20b --context-length 32k
ossia serve --tool python=bubblewrap --tool web
ossia serve --host 0.0.0.0
"""
LISTENING, ENGINE = "Listening", "Engine"
LEAST_POOL = 32768
"""Default limit of the KV cache of all requests, in tokens; it holds at least one whole context."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListeningChoices:
    """Where the server listens, and who may call it."""

    host: Annotated[
        str | None,
        typer.Option(
            envvar="OSSIA_HOST",
            metavar="ADDRESS",
            help="Address to listen on; by default 127.0.0.1 and ::1; others need a key: "
            "ossia keys add NAME.",
            rich_help_panel=LISTENING,
        ),
    ] = None
    port: Annotated[
        int,
        typer.Option(
            envvar="OSSIA_PORT", min=0, max=65535, metavar="N", help="TCP port; 0: any free one.",
            rich_help_panel=LISTENING,
        ),
    ] = 8000  # fmt: skip
    unix_socket: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH", help="Listen on this socket instead, for this user only.",
            rich_help_panel=LISTENING,
        ),
    ] = None  # fmt: skip
    allowed_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Another host name of this server; may be repeated.",
            rich_help_panel=LISTENING,
        ),
    ] = None  # fmt: skip
    require_key: Annotated[
        bool,
        typer.Option(
            "--require-key", help="Require an API key also on loopback.", rich_help_panel=LISTENING
        ),
    ] = False
    access_log: Annotated[
        bool,
        typer.Option(
            "--access-log",
            help="Log each answer and each tool call in a line on stderr, without their content.",
            rich_help_panel=LISTENING,
        ),
    ] = False
    grace: Annotated[
        float,
        typer.Option(
            min=0, max=3600, metavar="SECONDS",
            help="Time for running answers to finish when the server stops.",
            rich_help_panel=LISTENING,
        ),
    ] = 30.0  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingChoices:
    """Concurrency, KV cache, stored responses and raw output."""

    max_running: Annotated[
        int,
        typer.Option(
            envvar="OSSIA_MAX_RUNNING", min=1, max=512, metavar="N",
            help="Most concurrent requests; others wait.", rich_help_panel=ENGINE,
        ),
    ] = 8  # fmt: skip
    max_waiting: Annotated[
        int,
        typer.Option(
            min=0, max=100_000, metavar="N", help="Most waiting requests; more get status 429.",
            rich_help_panel=ENGINE,
        ),
    ] = 64  # fmt: skip
    pool_tokens: Annotated[
        int | None,
        typer.Option(
            parser=tokens, metavar="TOKENS", help="Size of the KV cache, shared by all requests.",
            rich_help_panel=ENGINE,
        ),
    ] = None  # fmt: skip
    store: Annotated[
        bool,
        typer.Option(
            help="Store responses on disk; otherwise they end with the server.",
            rich_help_panel=ENGINE,
        ),
    ] = True
    allow_control_ids: Annotated[
        bool,
        typer.Option(
            "--allow-control-ids",
            help="Allow control tokens in raw completions, in prompts of token ids.",
            rich_help_panel=ENGINE,
        ),
    ] = False
    raw_reasoning: Annotated[
        bool,
        typer.Option(help="Return the model's raw reasoning to callers.", rich_help_panel=ENGINE),
    ] = True


@spread
def command(
    *,
    listening: ListeningChoices,
    model: ModelOptions,
    serving: ServingChoices,
    tools: ToolChoices,
    machine: MachineOptions,
) -> None:
    """Serve a model over OpenAI's Responses and Chat Completions API."""
    from ossia.cli.commands.keys import key_file
    from ossia.server.http.listen import Listening, ListeningOptions, refuse_keyless
    from ossia.store.api_keys import open_keys

    keys = open_keys(os.environ, key_file(), required=listening.require_key)
    options = ListeningOptions(
        host=listening.host,
        port=listening.port,
        unix_socket=listening.unix_socket,
    )
    try:
        refuse_keyless(options.place, keyed=keys.required)
    except RequestError as error:
        raise typer.BadParameter(str(error)) from None
    socket = Listening(options, keyed=keys.required)
    try:
        _run(
            socket,
            listening,
            model,
            _served(model, serving, tools, machine, listening, socket.port),
            keys,
        )
    finally:
        socket.close()


def _run(
    socket: "Listening",
    listening: ListeningChoices,
    model: ModelOptions,
    serving: "Serving",
    keys: "KeyRing",
) -> None:
    from ossia.server.app import Server
    from ossia.server.http.drain import Drain
    from ossia.server.http.guard import Guard, GuardOptions

    if listening.access_log:
        _show_accesses()
    drain = Drain(listening.grace)
    with loading(quiet=model.quiet) as progress:

        def opened(provider: "Provider") -> None:
            progress("ready", 1.0)
            if not model.quiet:
                _announce(socket, provider, keyed=keys.required)
                if serving.mcp is not None:
                    say(f"MCP clients find its tools at {socket.addresses[0]}/mcp")

        server = Server(serving, drain, progress=progress, opened=opened)
        guard = Guard(
            server.app,
            options=GuardOptions(allowed_hosts=tuple(listening.allowed_host or ())),
            keys=keys,
            drain=drain,
            observe=lambda answer: server.metrics.answered(
                answer.endpoint, answer.status, answer.seconds
            ),
        )
        listed = RunningServer(os.getpid(), model.model, socket.addresses, time.time())
        with registered(listed):
            socket.run(guard, drain)
    if server.failure is not None:
        raise server.failure


def _show_accesses() -> None:
    import logging

    shown = logging.StreamHandler()
    shown.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    for name in ("ossia.access", "ossia.audit"):
        logger = logging.getLogger(name)
        logger.addHandler(shown)
        logger.setLevel(logging.INFO)


def _announce(socket: "Listening", provider: "Provider", *, keyed: bool) -> None:
    served = provider.model
    introduce(served.name)
    for notice in provider.notices:
        say(notice)
    say(f"{served.name} is ready: {served.context_length} tokens of context")
    for address in socket.addresses:
        say(f"listening on {address}")
    where = socket.addresses[0]
    if not where.startswith("unix:"):
        say(f"use it as OPENAI_BASE_URL={where}/v1" + ("" if keyed else ", with any key"))


def _served(
    model: ModelOptions,
    serving: ServingChoices,
    tools: ToolChoices,
    machine: MachineOptions,
    listening: ListeningChoices,
    port: int | None,
) -> "Serving":
    from ossia.server.app import Serving
    from ossia.server.services import ServeOptions

    options = load_options(
        model,
        machine,
        max_running=serving.max_running,
        pool_tokens=serving.pool_tokens or _pool(model, serving.max_running),
    )
    folder = state_folder()
    database = f"responses-{port or 'unix'}.db"
    return Serving(
        load_options=options,
        api=ServeOptions(
            raw_reasoning=serving.raw_reasoning, allow_control_ids=serving.allow_control_ids
        ),
        store=folder / database if serving.store else None,
        state_folder=folder if serving.store else None,
        toolkits=tools.toolkits(_counter(model)),
        required=tools.required,
        mcp=_mcp_endpoint(listening) if tools.mcp_endpoint else None,
        max_waiting=serving.max_waiting,
    )


def _mcp_endpoint(listening: ListeningChoices) -> "McpEndpoint":
    from ossia.server.mcp_endpoint import McpEndpoint

    return McpEndpoint(listening.allowed_host or ())


def _counter(model: ModelOptions) -> CountTokens:
    """Return a token counter; it opens the model's tokenizer at the first call."""

    @cache
    def tokenizer() -> "Tokenizer":
        from ossia.checkpoint import open_checkpoint
        from ossia.checkpoint.find import find_model
        from ossia.harmony.tokenizer import Tokenizer

        found = Tokenizer.of(open_checkpoint(find_model(model.model)))
        assert found is not None, "the engine refuses a model without a tokenizer"
        return found

    return lambda text: len(tokenizer().encode(text))


def _pool(model: ModelOptions, max_running: int) -> int:
    """Tokens of the KV cache: enough for all requests, up to a limit; at least one context."""
    from ossia.checkpoint import open_checkpoint
    from ossia.checkpoint.find import find_model

    config = open_checkpoint(find_model(model.model)).config
    longest = model.context_length or config.max_position_embeddings
    return max(longest, min(max_running * longest, LEAST_POOL))
