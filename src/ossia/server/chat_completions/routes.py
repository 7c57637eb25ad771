"""POST /v1/chat/completions: parses the request, runs its turns, streams or folds their chunks."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from secrets import token_hex

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from ossia.chat.events import Finished
from ossia.server.api.choices import Turns, begin, seeded
from ossia.server.api.fields import day, ignored_header
from ossia.server.api.history import TurnRecorder, without_broken_off
from ossia.server.api.json_body import (
    LARGE,
    Json,
    documented,
    in_thread_if_large,
    json_response,
    read_form,
)
from ossia.server.api.models import named
from ossia.server.api.openapi import EVENTS, answers
from ossia.server.api.sse import EventStreamResponse, framed, unless_gone
from ossia.server.api.tools import require_scope
from ossia.server.chat_completions.request import (
    ChatRequest,
    ParsedChatRequest,
    lost_calls,
    read_messages,
    to_turn,
)
from ossia.server.chat_completions.writer import ChatFold, ChatSettings, ChatWriter
from ossia.server.services import Services


def routes(services: Services) -> APIRouter:
    """Create the routes of this API."""
    router = APIRouter(tags=["chat completions"])
    fields = ("id", "object", "created", "model", "choices", "usage")
    either = answers("The answer, or its chunks.", fields, streams=EVENTS)

    @router.post("/v1/chat/completions", openapi_extra=documented(ChatRequest), responses=either)
    async def create(request: Request) -> Response:
        """Create a chat completion, whole or as a stream of chunks."""
        form = await read_form(request, ChatRequest)
        model = named(form.model, services.provider.model)
        parsed = await _parse(services, request, form)
        chat = _Chat(services, request.state.caller.owner, parsed, model)
        headers = ignored_header(parsed.ignored)
        if not parsed.streams:
            return json_response(await unless_gone(request, chat.whole()), headers)
        turns = await unless_gone(request, chat.begin())
        frames = framed(turns, chat.chunks(turns), request.state.request_id)
        await anext(frames)
        return EventStreamResponse(frames, headers)

    return router


async def _parse(services: Services, request: Request, form: ChatRequest) -> ParsedChatRequest:
    owner, model = request.state.caller.owner, services.provider.model
    # a small schema may unfold to ten thousand parts
    is_heavy = bool(form.tools) or len(await request.body()) > LARGE
    lost = lost_calls(form.messages)
    known = await services.memory.calls(owner, lost) if lost else {}
    history = await in_thread_if_large(is_heavy, read_messages, form.messages, known)
    messages = await services.memory.restored(owner, history.messages)
    date = day(services.clock())
    translate = partial(
        to_turn,
        model=model,
        date=date,
        available=services.tool_sessions.available,
    )
    parsed = await in_thread_if_large(is_heavy, translate, form, history, messages)
    require_scope(parsed.tools, request.state.caller.scopes)
    return parsed


class _Chat:
    """One chat completion in progress."""

    def __init__(
        self, services: Services, owner: str, parsed: ParsedChatRequest, model: str
    ) -> None:
        self._services = services
        self._owner = owner
        self._parsed = parsed
        self._writer = ChatWriter(
            ChatSettings(
                id=f"chatcmpl-{token_hex(16)}",
                created=int(services.clock()),
                model=model,
                fingerprint=services.provider.model.fingerprint,
                num_choices=parsed.num_choices,
                includes_usage=parsed.includes_usage or not parsed.streams,
                shows_reasoning=parsed.shows_reasoning and services.options.raw_reasoning,
                is_json=parsed.turn.answer is not None,
                kinds=parsed.tools.kinds,
            )
        )
        self._recorders = [TurnRecorder() for _ in range(parsed.num_choices)]

    async def begin(self) -> Turns:
        """Start a turn for every choice."""
        turn = self._parsed.turn
        choices = range(self._parsed.num_choices)
        requests = [replace(turn, params=seeded(turn.params, choice)) for choice in choices]
        return await begin(self._services.provider, requests)

    async def whole(self) -> Json:
        """Return the whole chat completion."""
        fold = ChatFold()
        async with await self.begin() as turns, aclosing(self.chunks(turns)) as chunks:
            async for chunk in chunks:
                fold.add(chunk)
        return fold.answer(self._parsed.metadata)

    async def chunks(self, turns: Turns) -> AsyncGenerator[Json, None]:
        """Yield every chunk; a choice's exact tokens are stored before its last chunk."""
        for chunk in self._writer.begin():
            yield chunk
        async with aclosing(turns.events()) as events:
            async for choice, event in events:
                self._recorders[choice].push(event)
                if isinstance(event, Finished):
                    await self._services.memory.remember(
                        self._owner,
                        without_broken_off(self._recorders[choice].messages),
                        durable=self._parsed.stores,
                    )
                for chunk in self._writer.push(choice, event):
                    yield chunk
        for chunk in self._writer.end():
            yield chunk
