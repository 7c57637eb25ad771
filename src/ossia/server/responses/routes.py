"""The routes of the Responses API: create, read, cancel, delete, list the input, count tokens.

Knows HTTP and the caller; `to_turn` translates requests, `run` runs them.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, FastAPI, Query
from starlette.requests import Request
from starlette.responses import Response

from ossia.errors import RequestError
from ossia.providers.provider import EventStream
from ossia.server.api.errors import NotFound
from ossia.server.api.fields import ignored_header
from ossia.server.api.json_body import (
    LARGE,
    documented,
    in_thread_if_large,
    json_response,
    read_form,
)
from ossia.server.api.openapi import EVENTS, answers
from ossia.server.api.sse import EventStreamResponse, sse_frame, unless_gone
from ossia.server.responses.background import RunningResponses
from ossia.server.responses.citations import resolver
from ossia.server.responses.input_history import Approval, InputHistory, gather_history, page
from ossia.server.responses.objects import Json, new_id
from ossia.server.responses.request import ENCRYPTED, CreateRequest, refuse_what_is_missing
from ossia.server.responses.run import Run
from ossia.server.responses.stored_turn import StoredTurn
from ossia.server.responses.to_turn import ParsedResponseRequest
from ossia.server.responses.truncation import start_turn
from ossia.server.responses.writer import ResponseWriter, fold
from ossia.server.services import Services
from ossia.store.responses import StoredResponse

_FIELDS = ("id", "object", "created_at", "status", "model", "output", "error", "usage")


def routes(services: Services) -> APIRouter:
    """Create the routes under /v1/responses."""
    endpoints = _Endpoints(services)
    router = APIRouter(prefix="/v1/responses", tags=["responses"], lifespan=endpoints.lifespan)
    body = documented(CreateRequest)
    whole = answers("The response.", _FIELDS)
    either = answers("The response, or its events.", _FIELDS, streams=EVENTS)
    counted = answers("How long the prompt is.", ("object", "input_tokens"))
    gone = answers("It is forgotten.", ("id", "object", "deleted"))
    listed = answers("A page.", ("object", "data", "first_id", "last_id", "has_more"))
    one, add = "/{response_id}", router.add_api_route
    add("", endpoints.create, methods=["POST"], openapi_extra=body, responses=either)
    add("/input_tokens", endpoints.count, methods=["POST"], openapi_extra=body, responses=counted)
    add(one, endpoints.read, methods=["GET"], responses=either)
    add(one, endpoints.delete, methods=["DELETE"], responses=gone)
    add(f"{one}/cancel", endpoints.cancel, methods=["POST"], responses=whole)
    add(f"{one}/input_items", endpoints.input_items, methods=["GET"], responses=listed)
    return router


class _Endpoints:
    """The routes' shared state: services and running responses."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._running = RunningResponses(services)

    @asynccontextmanager
    async def lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        """End background responses before the store closes."""
        try:
            yield
        finally:
            await self._running.close()

    async def create(self, request: Request) -> Response:
        """Create a response: whole, as a stream, or in the background."""
        form = await read_form(request, CreateRequest)
        refuse_what_is_missing(form)
        parsed, history = await self._parse(request, form)
        run = await self._begin(request, parsed, history)
        headers = ignored_header((*history.ignored, *parsed.ignored))
        if run.is_background:
            self._running.start(run)
            if form.stream:
                row = await self._found(run.writer.id, run.owner)
                return _streamed(self._running.followed(row, -1), headers)
            return json_response(run.writer.response, headers)
        if form.stream:
            return EventStreamResponse(_Frames(run), headers)
        try:
            return json_response(await unless_gone(request, _folded(run)), headers)
        finally:
            run.close()

    async def count(self, request: Request) -> Response:
        """Count the tokens of a prompt; nothing is generated or stored."""
        form = await read_form(request, CreateRequest)
        refuse_what_is_missing(form)
        parsed, history = await self._parse(request, form)
        stream = await self._stream(parsed, history, None)
        stream.close()
        counted = {"object": "response.input_tokens", "input_tokens": stream.prompt_tokens}
        return json_response(counted, ignored_header((*history.ignored, *parsed.ignored)))

    async def read(
        self,
        request: Request,
        response_id: str,
        stream: bool = False,
        starting_after: Annotated[int | None, Query(ge=0, le=2**53)] = None,
    ) -> Response:
        """Return a response in its current state, or stream a background response's events."""
        row = await self._found(response_id, _owner(request))
        if stream:
            if not row.background:
                raise RequestError(
                    "only a background response keeps its events; read it without stream",
                    param="stream",
                )
            after = -1 if starting_after is None else starting_after
            return _streamed(self._running.followed(row, after), {})
        run = self._running.find(response_id, row.owner)
        return json_response(run.writer.response if run else json.loads(row.body))

    async def delete(self, request: Request, response_id: str) -> Response:
        """Delete a response; cancel it if it is running."""
        owner = _owner(request)
        if run := self._running.find(response_id, owner):
            run.cancel()
        deleted = self._services.responses.delete(response_id, owner)
        if not await asyncio.wrap_future(deleted):
            raise _not_found(response_id)
        return json_response({"id": response_id, "object": "response", "deleted": True})

    async def cancel(self, request: Request, response_id: str) -> Response:
        """Cancel a background response; a finished one is returned unchanged."""
        row = await self._found(response_id, _owner(request))
        if not row.background:
            raise RequestError(
                "only a background response can be cancelled; close the connection of this one",
                param="response_id",
            )
        if run := self._running.find(response_id, row.owner):
            run.cancel()
            await self._running.ended(response_id)
            row = await self._found(response_id, row.owner)
        return json_response(json.loads(row.body))

    async def input_items(
        self,
        request: Request,
        response_id: str,
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
        order: Literal["asc", "desc"] = "desc",
        after: str | None = None,
    ) -> Response:
        """List the input items, in pages."""
        row = await self._found(response_id, _owner(request))
        items = StoredTurn.from_json(row.turn).input_items
        return json_response(page(items, limit=limit, order=order, after=after))

    async def _parse(
        self, request: Request, form: CreateRequest
    ) -> tuple[ParsedResponseRequest, InputHistory]:
        offer = self._services.tool_sessions.available
        scopes = request.state.caller.scopes
        is_heavy = len(await request.body()) > LARGE
        # a small schema may unfold to ten thousand parts
        parsed = await in_thread_if_large(
            is_heavy or bool(form.tools),
            ParsedResponseRequest.of,
            form,
            self._services.provider.model,
            offer,
            scopes,
        )
        return parsed, await gather_history(
            self._services, _owner(request), form, is_heavy=is_heavy
        )

    async def _stream(
        self, parsed: ParsedResponseRequest, history: InputHistory, session: str | None
    ) -> EventStream:
        date, approval = history.turn.date, history.approval
        decision = None if approval is None else approval.decision
        return await start_turn(
            self._services.provider,
            lambda messages: replace(parsed.to_turn(messages, date, decision), session=session),
            history.messages,
            truncates=parsed.form.truncation == "auto",
        )

    async def _begin(
        self, request: Request, parsed: ParsedResponseRequest, history: InputHistory
    ) -> Run:
        """Start the turn and store its row; from here on errors are events."""
        owner, form, services = _owner(request), parsed.form, self._services
        response_id = new_id("resp")
        # a conversation shares one tool session, keyed by its first response's id
        session = f"{owner}\0{history.root or response_id}"
        settings = parsed.settings()
        if approval := history.approval:
            session = approval.session
            settings = replace(settings, approved=approval.request_of_call)
        stream = await self._stream(parsed, history, session)
        includes_sealed = form.includes(ENCRYPTED)
        run = Run(
            services=services,
            owner=owner,
            request_id=request.state.request_id,
            writer=ResponseWriter(
                settings,
                response_id=response_id,
                clock=services.clock,
                resolve=resolver(partial(services.tool_sessions.resolve, session)),
                sign_reference=(lambda item_id: services.memory.encrypted_content(item_id, owner))
                if includes_sealed
                else None,
            ),
            stream=stream,
            turn=history.turn,
            settings=settings,
            session=session,
        )
        try:
            await self._take(approval, owner)
            await run.begin()
        except BaseException:
            stream.close()
            raise
        if settings.store:
            self._running.add(run)
        return run

    async def _take(self, approval: Approval | None, owner: str) -> None:
        """Mark a waiting call as decided; only one of several answers succeeds."""
        if approval is None:
            return
        if not await self._services.memory.take(owner, approval.answer.request_id):
            raise approval.answer.refused()

    async def _found(self, response_id: str, owner: str) -> StoredResponse:
        row = await asyncio.wrap_future(self._services.responses.get(response_id, owner))
        if row is None:
            raise _not_found(response_id)
        return row


class _Frames(AsyncGenerator[bytes, None]):
    """A run's events as bytes. Unlike a plain generator, it ends the run even if never started."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._events = run.events()

    async def asend(self, value: None) -> bytes:
        """Return the next frame."""
        return _frame(await anext(self._events))

    async def athrow(self, *error: Any) -> bytes:
        """Raise the error; part of the protocol of generators."""
        raise NotImplementedError

    async def aclose(self) -> None:
        """Close the run."""
        await self._events.aclose()
        self._run.close()


async def _framed(events: AsyncGenerator[Json, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(events):
        async for event in events:
            yield _frame(event)


def _streamed(events: AsyncGenerator[Json, None], headers: Mapping[str, str]) -> Response:
    return EventStreamResponse(_framed(events), headers)


def _frame(event: Json) -> bytes:
    return sse_frame(event, event["type"])


async def _folded(run: Run) -> Json:
    """Fold the events to the whole response.

    Raises:
        HttpError: an internal error; nothing was sent yet, so the status can report it.
    """
    async with aclosing(run.events()) as events:
        response = fold([event async for event in events])
    if run.fault is not None:
        raise run.fault
    return response


def _owner(request: Request) -> str:
    owner: str = request.state.caller.owner
    return owner


def _not_found(response_id: str) -> NotFound:
    return NotFound(
        f"there is no response {response_id!r:.80}; it was never stored, was deleted, or is too "
        "old",
        "response_not_found",
    )
