"""The engine's thread, and token streams for other threads."""

import logging
import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

from ossia.engine.engine import Engine, EngineLoad
from ossia.engine.request import EngineRequest, TokenEvent

logger = logging.getLogger(__name__)


OnToken: TypeAlias = Callable[[TokenEvent], None]
"""Receives the events of one request on the engine's thread; must not block."""


@dataclass(frozen=True, slots=True, eq=False)
class Submission:
    """A submitted request and the receiver of its events."""

    request: EngineRequest
    on_token: OnToken


class TokenStream(Iterator[TokenEvent]):
    """The events of one request. Closing or dropping it cancels the request."""

    def __init__(
        self,
        service: "EngineService",
        submission: Submission,
        inbox: "queue.SimpleQueue[TokenEvent]",
    ) -> None:
        self._service = service
        self._submission = submission
        self._inbox = inbox
        self._finished = False

    def __next__(self) -> TokenEvent:
        """Wait for the next event.

        Raises:
            Exception: the engine's error; it ends the stream.
        """
        if self._finished:
            raise StopIteration
        event = self._inbox.get()
        self._finished = event.finish_reason is not None
        if event.error is not None:
            raise event.error
        return event

    def __del__(self) -> None:
        """Cancel the request when the reader drops the stream, as by `break`."""
        self.close()

    def close(self) -> None:
        """Cancel the request unless it has finished."""
        if not self._finished:
            self._finished = True
            self._service.cancel(self._submission)


class EngineService:
    """Runs an engine on its own thread; thread-safe."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._changed = threading.Condition()
        self._arrived: list[Submission] = []
        self._cancelled: list[Submission] = []
        self._closed = False
        self._submissions: dict[int, Submission] = {}  # the engine thread's own
        self._thread = threading.Thread(target=self._run, name="ossia-engine", daemon=True)
        self._thread.start()

    def stream(self, request: EngineRequest) -> TokenStream:
        """Submit a request and read its events; see `Engine.submit`.

        Raises:
            RequestError: see `Engine.check`.
        """
        inbox: queue.SimpleQueue[TokenEvent] = queue.SimpleQueue()
        return TokenStream(self, self.submit(request, inbox.put), inbox)

    def submit(self, request: EngineRequest, on_token: OnToken) -> Submission:
        """Submit a request whose events go to `on_token`.

        Returns:
            The argument of `cancel`.

        Raises:
            RequestError: see `Engine.check`.
        """
        self.engine.check(request.prompt, request.params)
        submission = Submission(request, on_token)
        with self._changed:
            if self._closed:
                raise RuntimeError("this model was closed")
            self._arrived.append(submission)
            self._changed.notify()
        return submission

    @property
    def load(self) -> EngineLoad:
        """The engine's load, submitted requests included."""
        load = self.engine.load
        return replace(load, waiting=load.waiting + len(self._arrived))

    def cancel(self, submission: Submission) -> None:
        """Cancel a request after the current step."""
        with self._changed:
            self._cancelled.append(submission)
            self._changed.notify()

    def close(self) -> None:
        """Stop the thread after the current step; running requests are cancelled."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if threading.current_thread() is not self._thread:  # the garbage collector may run on it
            self._thread.join()

    def _run(self) -> None:
        while self._receive():
            for event in self._step():
                self._deliver(event)
        for submission in (*self._submissions.values(), *self._arrived):
            submission.on_token(TokenEvent(-1, None, finish_reason="cancelled"))

    def _receive(self) -> bool:
        """Wait for submissions and take them; False: the service was closed."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._closed or self._arrived or self._cancelled or not self.engine.idle
            )
            if self._closed:
                return False
            arrived, self._arrived = self._arrived, []
            cancelled, self._cancelled = self._cancelled, []
        for submission in arrived:
            self._submissions[self.engine.submit(submission.request)] = submission
        for request_id in [key for key, one in self._submissions.items() if one in cancelled]:
            self.engine.cancel(request_id)
            del self._submissions[request_id]
        return True

    def _step(self) -> list[TokenEvent]:
        try:
            return self.engine.step()
        except Exception as error:  # the step failed: its requests end, the engine goes on
            logger.exception("a step of the engine failed")
            for request_id in self._submissions:
                self.engine.cancel(request_id)
            return [
                TokenEvent(request_id, None, finish_reason="error", error=error)
                for request_id in self._submissions
            ]

    def _deliver(self, event: TokenEvent) -> None:
        self._submissions[event.request_id].on_token(event)
        if event.finish_reason is not None:
            del self._submissions[event.request_id]
