"""The one thread boundary: an engine on its own thread, and token streams for everyone else."""

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
"""Takes the events of one request, on the engine's thread: it must return at once."""


@dataclass(frozen=True, slots=True, eq=False)
class Submission:
    """One request on its way in, and the way its events come back."""

    request: EngineRequest
    on_token: OnToken


class TokenStream(Iterator[TokenEvent]):
    """The events of one request, up to the one that ends it. Closing or dropping it cancels."""

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
            Exception: what failed inside the engine; the stream has ended then.
        """
        if self._finished:
            raise StopIteration
        event = self._inbox.get()
        self._finished = event.finish_reason is not None
        if event.error is not None:
            raise event.error
        return event

    def __del__(self) -> None:
        """A reader that walked away (a `break` in its loop) leaves nothing running."""
        self.close()

    def close(self) -> None:
        """Cancel the request unless it has ended."""
        if not self._finished:
            self._finished = True
            self._service.cancel(self._submission)


class EngineService:
    """Many threads may submit; none waits for a step of the engine but to read its own events."""

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
            RequestError: see `Engine.check`; before anything runs.
        """
        inbox: queue.SimpleQueue[TokenEvent] = queue.SimpleQueue()
        return TokenStream(self, self.submit(request, inbox.put), inbox)

    def submit(self, request: EngineRequest, on_token: OnToken) -> Submission:
        """Submit a request whose events go to `on_token`, up to the one that ends it.

        Returns:
            What `cancel` takes.

        Raises:
            RequestError: see `Engine.check`; before anything runs.
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
        """How busy the engine is, with what is on its way in."""
        load = self.engine.load
        return replace(load, waiting=load.waiting + len(self._arrived))

    def cancel(self, submission: Submission) -> None:
        """Stop a request after the step it is in."""
        with self._changed:
            self._cancelled.append(submission)
            self._changed.notify()

    def close(self) -> None:
        """Stop the thread after the step it is in; what runs ends as cancelled."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if threading.current_thread() is not self._thread:  # it may be what collects garbage
            self._thread.join()

    def _run(self) -> None:
        while self._receive():
            for event in self._step():
                self._deliver(event)
        for submission in (*self._submissions.values(), *self._arrived):
            submission.on_token(TokenEvent(-1, None, finish_reason="cancelled"))

    def _receive(self) -> bool:
        """Wait for something to do and take in what came; False: the service was closed."""
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
        except Exception as error:  # the step failed: what ran in it ends, the engine goes on
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
