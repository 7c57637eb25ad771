"""A real server on loopback around some routes, with a store in memory and a scripted engine."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import uvicorn
from fastapi import APIRouter, FastAPI
from openai import OpenAI

from ossia.providers.metrics import Metrics
from ossia.providers.tool_sessions import ToolSessions
from ossia.server.api import errors
from ossia.server.api.exact_tokens import ExactTokens, ReferenceSigner
from ossia.server.http.guard import LOCAL, Caller
from ossia.server.services import ServeOptions, Services
from ossia.store.database import Database
from ossia.store.responses import Responses
from ossia.store.token_memory import TokenMemory
from tests.server.scripted import ScriptedEngine

NOW = 1_795_219_200.0

ASGIApp = Callable[[Any, Any, Any], Awaitable[None]]


@contextlib.contextmanager
def services_with(engine: Any, tool_sessions: Any = None, **options: Any) -> Iterator[Services]:
    """What routes work with, around a scripted engine; closed at the end."""
    database = Database(None)
    try:
        yield Services(
            provider=engine,
            responses=Responses(database),
            memory=ExactTokens(
                TokenMemory(database), ReferenceSigner(bytes(32)), model=lambda: "fp"
            ),
            metrics=Metrics(),
            options=ServeOptions(**options),
            tool_sessions=tool_sessions or ToolSessions({}),
            clock=lambda: NOW,
        )
    finally:
        database.close()


def app_of(services: Services, *rooms: Callable[[Services], APIRouter]) -> ASGIApp:
    """The routes of some rooms, behind what the guard would have said about the caller."""
    app = FastAPI()
    errors.install(app)
    for room in rooms:
        app.include_router(room(services))

    async def with_caller(scope: Any, receive: Any, send: Any) -> None:
        headers = dict(scope.get("headers", ()))
        owner = headers.get(b"x-owner", b"").decode()
        caller = Caller(owner, "test", LOCAL.scopes)
        scope.setdefault("state", {}).update(caller=caller, request_id="req_test")
        await app(scope, receive, send)

    return with_caller


@contextlib.contextmanager
def listening(app: ASGIApp) -> Iterator[str]:
    """Serve an app on a free port of loopback; gives its address."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        config = uvicorn.Config(
            app, log_level="warning", lifespan="off", ws="none", timeout_graceful_shutdown=1
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[sock])))
        thread.start()
        try:
            yield f"http://127.0.0.1:{sock.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@contextlib.contextmanager
def client_of(
    engine: ScriptedEngine, *rooms: Callable[[Services], APIRouter], **options: Any
) -> Iterator[OpenAI]:
    """OpenAI's own client, as strict as it can be, before a server that plays scripts."""
    with (
        services_with(engine, **options) as services,
        listening(app_of(services, *rooms)) as address,
        OpenAI(
            api_key="none",
            base_url=f"{address}/v1",
            max_retries=0,
            _strict_response_validation=True,
        ) as client,
    ):
        yield client
