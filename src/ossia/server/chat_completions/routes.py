"""POST /v1/chat/completions: a request understood, its turns run, their chunks sent or added up."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from secrets import token_hex

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from ossia.chat.events import Event, Finished, PartFinished, PartStarted, ToolFinished
from ossia.server.api.choices import Turns, begin, seeded
from ossia.server.api.fields import day, ignored_header
from ossia.server.api.history import HistoryMessage, with_result, without_broken_off
from ossia.server.api.json_body import LARGE, Json, beside, documented, json_response, read_form
from ossia.server.api.models import named
from ossia.server.api.openapi import EVENTS, answers
from ossia.server.api.sse import EventStreamResponse, unless_gone
from ossia.server.api.tools import require_scope
from ossia.server.chat_completions.request import (
    ChatRequest,
    ParsedChatRequest,
    lost_calls,
    read_messages,
    to_turn,
)
from ossia.server.chat_completions.writer import ChatFold, ChatSettings, ChatWriter
from ossia.server.chunks import framed
from ossia.server.services import Services


def routes(services: Services) -> APIRouter:
    """The routes of this API."""
    router = APIRouter(tags=["chat completions"])
    fields = ("id", "object", "created", "model", "choices", "usage")
    either = answers("The answer, or its chunks.", fields, streams=EVENTS)

    @router.post("/v1/chat/completions", openapi_extra=documented(ChatRequest), responses=either)
    async def create(request: Request) -> Response:
        """Answer a conversation, whole or as a stream of chunks."""
        form = await read_form(request, ChatRequest)
        model = named(form.model, services.engine.model)
        asked = await _understood(services, request, form)
        chat = _Chat(services, request.state.caller.owner, asked, model)
        headers = ignored_header(asked.ignored)
        if not asked.streams:
            return json_response(await unless_gone(request, chat.whole()), headers)
        turns = await unless_gone(request, chat.begin())
        frames = framed(turns, chat.chunks(turns), request.state.request_id)
        await anext(frames)
        return EventStreamResponse(frames, headers)

    return router


async def _understood(services: Services, request: Request, form: ChatRequest) -> ParsedChatRequest:
    owner, model = request.state.caller.owner, services.engine.model
    # a small schema may unfold to ten thousand parts
    is_heavy = bool(form.tools) or len(await request.body()) > LARGE
    lost = lost_calls(form.messages)
    known = await services.memory.calls(owner, lost) if lost else {}
    history = await beside(is_heavy, read_messages, form.messages, known)
    messages = await services.memory.restored(owner, history.messages)
    date = day(services.clock())
    translate = partial(
        to_turn,
        model=model,
        date=date,
        available=services.toolbox.available,
    )
    asked = await beside(is_heavy, translate, form, history, messages)
    require_scope(asked.offered, request.state.caller.scopes)
    return asked


class _Chat:
    """One answer on its way."""

    def __init__(
        self, services: Services, owner: str, asked: ParsedChatRequest, model: str
    ) -> None:
        self._services = services
        self._owner = owner
        self._asked = asked
        self._writer = ChatWriter(
            ChatSettings(
                id=f"chatcmpl-{token_hex(16)}",
                created=int(services.clock()),
                model=model,
                fingerprint=services.engine.model.fingerprint,
                num_choices=asked.num_choices,
                includes_usage=asked.includes_usage or not asked.streams,
                shows_reasoning=asked.shows_reasoning and services.options.raw_reasoning,
                is_json=asked.turn.answer is not None,
                kinds=asked.offered.kinds,
            )
        )
        self._said = [_Said() for _ in range(asked.num_choices)]

    async def begin(self) -> Turns:
        """Begin a turn for every choice."""
        turn = self._asked.turn
        choices = range(self._asked.num_choices)
        requests = [replace(turn, params=seeded(turn.params, choice)) for choice in choices]
        return await begin(self._services.engine, requests)

    async def whole(self) -> Json:
        """The answer of one who does not stream."""
        fold = ChatFold()
        async with await self.begin() as turns, aclosing(self.chunks(turns)) as chunks:
            async for chunk in chunks:
                fold.add(chunk)
        return fold.answer(self._asked.metadata)

    async def chunks(self, turns: Turns) -> AsyncGenerator[Json, None]:
        """Every chunk of the answer; what a choice said is remembered before its last one."""
        for chunk in self._writer.begin():
            yield chunk
        async with aclosing(turns.events()) as events:
            async for choice, event in events:
                if (said := self._said[choice].hear(event)) is not None:
                    await self._services.memory.remember(
                        self._owner, said, durable=self._asked.stores
                    )
                for chunk in self._writer.push(choice, event):
                    yield chunk
        for chunk in self._writer.end():
            yield chunk


class _Said:
    """What one choice said, to be known again when the client sends it back."""

    def __init__(self) -> None:
        self._said: list[HistoryMessage] = []
        self._call_id: str | None = None

    def hear(self, event: Event) -> list[HistoryMessage] | None:
        """All of it once the turn has finished; None before."""
        match event:
            case PartStarted():
                self._call_id = event.call_id or None
            case PartFinished():
                self._said.append(HistoryMessage(message=event.message, call_id=self._call_id))
            case ToolFinished():
                self._said[-1] = with_result(self._said[-1], event)
            case Finished():
                return without_broken_off(self._said)
            case _:
                pass
        return None
