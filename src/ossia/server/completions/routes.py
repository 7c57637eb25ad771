"""POST /v1/completions: completes raw text or ids, without messages, roles or tools."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from secrets import token_hex

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from ossia.server.api.choices import Turns, begin
from ossia.server.api.fields import ignored_header
from ossia.server.api.json_body import Json, documented, json_response, read_form
from ossia.server.api.models import named
from ossia.server.api.openapi import EVENTS, answers
from ossia.server.api.sse import EventStreamResponse, framed, unless_gone
from ossia.server.completions.request import CompletionRequest, ParsedCompletionRequest, to_turns
from ossia.server.completions.writer import CompletionFold, CompletionWriter
from ossia.server.services import Services


def routes(services: Services) -> APIRouter:
    """Create the routes of this API."""
    router = APIRouter(tags=["completions"])
    fields = ("id", "object", "created", "model", "choices", "usage")
    either = answers("The text, or its chunks.", fields, streams=EVENTS)

    @router.post("/v1/completions", openapi_extra=documented(CompletionRequest), responses=either)
    async def create(request: Request) -> Response:
        """Complete a text, whole or as a stream of chunks."""
        form = await read_form(request, CompletionRequest)
        model = services.provider.model
        name = named(form.model, model)
        allow = services.options.allow_control_ids
        parsed = to_turns(form, model, allow_control_ids=allow)
        completion = _Completion(
            services,
            parsed,
            {
                "id": f"cmpl-{token_hex(16)}",
                "object": "text_completion",
                "created": int(services.clock()),
                "model": name,
                "system_fingerprint": model.fingerprint,
            },
        )
        headers = ignored_header(parsed.ignored)
        if not parsed.streams:
            return json_response(await unless_gone(request, completion.whole()), headers)
        turns = await unless_gone(request, begin(services.provider, parsed.requests()))
        frames = framed(turns, completion.chunks(turns), request.state.request_id)
        await anext(frames)
        return EventStreamResponse(frames, headers)

    return router


class _Completion:
    """One completion in progress."""

    def __init__(self, services: Services, parsed: ParsedCompletionRequest, head: Json) -> None:
        self._services = services
        self._parsed = parsed
        self._head = head
        self._writer = CompletionWriter(head, parsed)

    async def whole(self) -> Json:
        """Return the whole completion."""
        fold = CompletionFold(self._parsed)
        turns = await begin(self._services.provider, self._parsed.requests())
        async with turns, aclosing(self.chunks(turns)) as chunks:
            async for chunk in chunks:
                fold.add(chunk)
        return fold.answer(self._head)

    async def chunks(self, turns: Turns) -> AsyncGenerator[Json, None]:
        """Yield every chunk."""
        for chunk in self._writer.begin():
            yield chunk
        async with aclosing(turns.events()) as events:
            async for number, event in events:
                for chunk in self._writer.push(number, event):
                    yield chunk
        for chunk in self._writer.end():
            yield chunk
