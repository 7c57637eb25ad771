"""Runs one response: reads a turn's events, yields the API's events, stores a row.

Knows the store and `ExactTokens`; knows no HTTP.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import Future
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

from ossia.chat.events import (
    ApprovalRequested,
    Event,
    Finished,
    PartFinished,
    ReasoningDelta,
    ToolCalled,
)
from ossia.errors import StoreError, log_failure
from ossia.providers.provider import EventStream
from ossia.server.api.errors import HttpError, ServerFault, Unavailable, as_http
from ossia.server.api.history import TurnRecorder, without_broken_off
from ossia.server.responses.input_history import calls_of
from ossia.server.responses.objects import Json, ResponseSettings, runs_here, tool_kind
from ossia.server.responses.stored_turn import StoredTurn
from ossia.server.responses.writer import TERMINAL, ResponseWriter
from ossia.server.services import Services
from ossia.store.responses import StoredResponse

STOPPING = "the server is being stopped"
NOT_STORED = "the response was written, but could not be stored"


@dataclass(eq=False, kw_only=True)
class Run:
    """A running response. Its creator must `close` it in every case."""

    services: Services
    owner: str
    request_id: str
    writer: ResponseWriter
    stream: EventStream
    turn: StoredTurn
    settings: ResponseSettings
    session: str
    """Key of the tool session."""
    fault: HttpError | None = None
    """The internal error that ended it, if any."""
    on_close: Callable[[str], object] = lambda response_id: None
    _recorder: TurnRecorder = field(default_factory=TurnRecorder)
    _awaits_approval: bool = False
    """Whether the last message is a call that waits for approval."""
    _is_cancelled: bool = False
    _is_stopped: bool = False
    _is_stored: bool = False
    _is_closed: bool = False

    @property
    def is_background(self) -> bool:
        """Whether it runs in the background."""
        return self.settings.background

    async def begin(self) -> None:
        """Store the row before the first event is sent.

        Raises:
            StoreError: the row cannot be written.
        """
        if self.settings.store:
            status = "queued" if self.is_background else "in_progress"
            row = StoredResponse(
                response_id=self.writer.id,
                owner=self.owner,
                created_at=self.services.clock(),
                status=status,
                body=json.dumps({**self.writer.response, "status": status}),
                turn=self.turn.to_json(),
                previous_id=self.settings.previous_response_id,
                background=self.is_background,
            )
            await asyncio.wrap_future(self.services.responses.begin(row))

    async def events(self) -> AsyncGenerator[Json, None]:
        """Yield the API's events; the last is terminal in every case."""
        try:
            for event in self.writer.begin(queued=self.is_background):
                yield event
            async with aclosing(self._api_events()) as followed:
                async for several in followed:
                    for event in several:
                        yield await self._commit(event) if event["type"] in TERMINAL else event
        finally:
            self.close()

    def cancel(self) -> None:
        """Cancel the response; readers still get the terminal event."""
        self._is_cancelled = not self._is_stopped
        self.stream.close()

    def abort(self) -> None:
        """End the response as failed, because the server stops."""
        self._is_stopped = not self._is_cancelled
        self.stream.close()

    def close(self) -> None:
        """Stop the turn and store the output so far; idempotent."""
        if self._is_closed:
            return
        self._is_closed = True
        self.stream.close()
        if not self.writer.is_over:
            self.writer.cancel(self.stream.prompt_tokens)
        if not self._is_stored:
            self._store(self.writer.response)
        self.on_close(self.writer.id)

    async def _api_events(self) -> AsyncGenerator[Sequence[Json], None]:
        """Yield the API's events for each event of the turn, up to the terminal one."""
        try:
            async for event in self.stream:
                if _is_broken_off(event) and not self._is_cancelled:
                    break
                yield self._push(event)
        except Exception as error:  # a started stream must end with a terminal event
            if not self._is_cancelled and not self._is_stopped:
                self.fault = as_http(error)
                log_failure(error, self.request_id)
        if not self.writer.is_over:
            tokens = self.stream.prompt_tokens
            if self._is_cancelled:
                yield self.writer.cancel(tokens)
            else:
                self.fault = self.fault or Unavailable(STOPPING)
                yield self.writer.fail("server_error", str(self.fault), tokens)

    def _push(self, event: Event) -> Sequence[Json]:
        kinds = self.settings.kinds
        if isinstance(event, ToolCalled) and not runs_here(event.name, kinds):
            self.services.metrics.tool_called(tool_kind(event.name, kinds), "asked")
        self._awaits_approval = self._awaits_approval or isinstance(event, ApprovalRequested)
        is_hidden = isinstance(event, ReasoningDelta) and not self.services.options.raw_reasoning
        events = [] if is_hidden else self.writer.push(event)
        written = self.writer.written[-1] if isinstance(event, PartFinished) else None
        self._recorder.push(event, written)
        return events

    async def _commit(self, terminal: Json) -> Json:
        """Commit to the store before the terminal event is sent."""
        try:
            for future in self._store(terminal["response"]):
                await asyncio.wrap_future(future)
        except StoreError as error:
            log_failure(error, self.request_id)
            self.fault = ServerFault(NOT_STORED)
            failure = {"code": "server_error", "message": NOT_STORED}
            response = {**terminal["response"], "status": "failed", "completed_at": None}
            response |= {"error": failure, "incomplete_details": None}
            return {**terminal, "type": "response.failed", "response": response}
        return terminal

    def _store(self, response: Json) -> list["Future[Any]"]:
        """Queue the row and the exact tokens for the store together."""
        self._is_stored = True
        recorded = self._recorder.messages
        history = without_broken_off(recorded)
        is_waiting = self._awaits_approval and response["status"] == "completed"
        waiting = recorded[-1:] if is_waiting else []
        request_id = waiting[0].item_id if waiting else None
        stored: list[Future[Any]] = []
        if self.settings.store:
            turn = replace(
                self.turn,
                output_messages=[message for one in history for message in one.messages],
                calls={**self.turn.calls, **calls_of(history)},
                approval_request_id=request_id,
            )
            stored.append(
                self.services.responses.finish(
                    self.writer.id,
                    status=response["status"],
                    body=json.dumps(response),
                    turn=turn.to_json(),
                )
            )
        memory, durable = self.services.memory, self.settings.store
        response_id = self.writer.id if durable else None
        history += waiting  # its item id leads back to the reasoning before it
        stored.append(memory.keep(self.owner, history, durable=durable, response_id=response_id))
        if request_id is not None:
            stored.append(
                memory.wait(
                    self.owner, request_id, self.session, durable=durable, response_id=response_id
                )
            )
        return stored


def _is_broken_off(event: Event) -> bool:
    """Whether the engine cancelled the turn."""
    return isinstance(event, Finished) and event.reason == "cancelled"
