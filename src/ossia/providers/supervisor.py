"""Supervises the engine's process: sends turns, reads events, restarts it when it dies.

Knows the pipe to `worker` and its lifecycle; knows no HTTP.
"""

import asyncio
import contextlib
import logging
import os
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from itertools import count

from ossia.chat.events import Event, Finished, PartFinished, PartStarted
from ossia.chat.request import RawRequest, TurnRequest
from ossia.engine.engine import EngineLoad
from ossia.engine.options import LoadOptions
from ossia.errors import (
    OssiaError,
    ProviderBusy,
    ProviderUnavailable,
    RequestError,
    TurnFailed,
)
from ossia.providers.ipc import (
    Accepted,
    Cancel,
    Failed,
    Forced,
    FromEngine,
    Heartbeat,
    LoadFailed,
    LoadProgress,
    Ready,
    StartCompletion,
    StartTurn,
    ToEngine,
    TurnEvent,
    TurnRefused,
    decode,
    encode,
)
from ossia.providers.metrics import Metrics
from ossia.providers.provider import (
    EventStream,
    ProviderHealth,
    ServedModel,
    State,
)

MAX_UNREAD = 4096
"""Events buffered for a slow reader, some 256 KiB; beyond that its turn is cancelled."""
SILENT_SECONDS = 3.0
"""Without a heartbeat for this long, the engine's process counts as hung."""
STUCK_SECONDS = 60.0
"""A step that takes longer than any of the largest model counts as stuck."""
LEAVE_SECONDS = 5.0
"""Time for an engine to exit before it is killed."""
MAX_RESTARTS, RESTART_WINDOW = 3, 600.0
READ_BYTES = 1 << 18
WORKER = (sys.executable, "-P", "-m", "ossia.providers.worker")  # -P: not from the working folder

logger = logging.getLogger(__name__)


@dataclass(eq=False)
class TurnStream:
    """An `EventStream`: the supervisor pushes events, the reader takes them."""

    id: int
    cancel: Callable[["TurnStream"], None]
    accepted: "asyncio.Future[int]"
    started: float
    prompt_tokens: int = 0
    waiting: deque[Event] = field(default_factory=deque)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    error: OssiaError | None = None
    last: float | None = None
    is_over: bool = False

    async def __aiter__(self) -> AsyncIterator[Event]:
        while True:
            while self.waiting:
                event = self.waiting.popleft()
                yield event
                if isinstance(event, Finished):
                    return
            if self.error is not None:
                raise self.error
            self.arrived.clear()
            await self.arrived.wait()

    def close(self) -> None:
        if not self.is_over:
            self.cancel(self)
            self.fail(TurnFailed("the turn was cancelled"))

    def push(self, event: Event) -> None:
        """Queue an event for the reader."""
        self.waiting.append(event)
        self.is_over = isinstance(event, Finished)
        self.arrived.set()

    def fail(self, error: OssiaError) -> None:
        """End the stream with an error."""
        self.is_over = True
        self.error = error
        if not self.accepted.done():
            self.accepted.set_exception(error)
            self.accepted.exception()  # its starter may have gone: mark the exception as retrieved
        self.arrived.set()


class Supervisor:
    """A `Provider` that keeps one engine process running."""

    def __init__(
        self,
        load_options: LoadOptions,
        metrics: Metrics,
        *,
        max_waiting: int = 64,
        clock: Callable[[], float] = time.monotonic,
        progress: Callable[[str, float], None] = lambda phase, share: None,
        command: Sequence[str] = WORKER,
    ) -> None:
        """Configure; `open` starts the process.

        Args:
            load_options: the model and its load options.
            metrics: receive measurements of turns and of the engine.
            max_waiting: turns queued beyond those that the engine runs.
            clock: seconds.
            progress: called with phase and share while the model loads.
            command: of the engine's process.
        """
        self._command = command
        self._load_options = load_options
        self._metrics = metrics
        self._max_waiting = max_waiting
        self._clock = clock
        self._progress = progress
        self._process: asyncio.subprocess.Process | None = None
        self._watching: asyncio.Task[None] | None = None
        self._turns: dict[int, TurnStream] = {}
        self._ids = count(1)
        self._model: ServedModel | None = None
        self._is_up = asyncio.Event()
        self._deaths: deque[float] = deque()
        self._last_heartbeat = self._last_step = clock()
        self.restarts = 0
        self._is_closing = False
        self.state: State = "loading"
        self.phase, self.share = "start", 0.0
        self.refusal: str | None = None
        """Why the model cannot be loaded."""
        self.notices: tuple[str, ...] = ()
        self.current = EngineLoad(steps=0, running=0, waiting=0, cache_usage=0.0, preempted=0)

    @property
    def model(self) -> ServedModel:
        if self._model is None:
            raise self._down()
        return self._model

    @property
    def health(self) -> ProviderHealth:
        state: State = "stuck" if self.state == "ready" and not self.is_stepping else self.state
        return ProviderHealth(
            state=state,
            phase=self.phase,
            share=self.share,
            num_turns=len(self._turns),
            load=self.current,
        )

    @property
    def pid(self) -> int | None:
        """Process id of the engine."""
        return None if self._process is None else self._process.pid

    @property
    def num_turns(self) -> int:
        """Number of running and waiting turns."""
        return len(self._turns)

    @property
    def is_stepping(self) -> bool:
        """Whether the engine is alive and makes progress while it has work."""
        now = self._clock()
        if self.state != "ready" or now - self._last_heartbeat > SILENT_SECONDS:
            return False
        return not self._turns or now - self._last_step < STUCK_SECONDS

    def open(self) -> None:
        self._watching = asyncio.create_task(self._watch())

    async def opened(self) -> None:
        assert self._watching is not None, "open it first"
        up = asyncio.ensure_future(self._is_up.wait())
        await asyncio.wait((up, self._watching), return_when=asyncio.FIRST_COMPLETED)
        up.cancel()
        if not self._is_up.is_set():
            raise OssiaError(self.refusal or "the engine died while it opened the model")

    async def start(self, request: TurnRequest | RawRequest) -> EventStream:
        if self._process is None or self.state != "ready":
            raise self._down()
        most = self.model.max_running + self._max_waiting
        if len(self._turns) >= most:
            raise ProviderBusy(
                f"{most} requests are running or waiting already; try again in a moment",
                code="queue_full",
            )
        future = asyncio.get_running_loop().create_future()
        turn = TurnStream(next(self._ids), self._forget, future, self._clock())
        frame = StartTurn if isinstance(request, TurnRequest) else StartCompletion
        line = encode(frame(turn.id, request))  # type: ignore[arg-type]
        if not self._turns:
            self._last_step = self._clock()  # it was idle until now
        self._turns[turn.id] = turn
        try:
            await self._send(line)
            turn.prompt_tokens = await turn.accepted
        except BaseException:
            turn.close()
            raise
        return turn

    async def close(self) -> None:
        self._is_closing, self.state = True, "closed"
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
        if self._watching is None:
            return
        done, _ = await asyncio.wait((self._watching,), timeout=LEAVE_SECONDS)
        if not done and self._process is not None:
            self._process.kill()
        await self._watching

    def end_turns(self, reason: str) -> None:
        for turn in list(self._turns.values()):
            self._forget(turn)
            turn.fail(ProviderUnavailable(reason, code="engine_died"))

    def _down(self) -> ProviderUnavailable:
        if self.state == "loading":
            return ProviderUnavailable(
                f"the model is being opened ({self.phase} {self.share:.0%}); try again in a moment",
                code="loading",
            )
        if self.state == "failed":
            return ProviderUnavailable(
                "the engine died too often and is not started again; the operator must look",
                code="engine_failed",
                retry_seconds=60,
            )
        return ProviderUnavailable(
            "the engine is being started again; try again", code="engine_restarting"
        )

    def _forget(self, turn: TurnStream) -> None:
        if self._turns.pop(turn.id, None) is not None and self._process is not None:
            with contextlib.suppress(OSError, RuntimeError):
                stdin = self._process.stdin
                assert stdin is not None
                stdin.write(encode(Cancel(turn.id)))

    async def _send(self, line: bytes) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line)
            await self._process.stdin.drain()
        except (OSError, RuntimeError):
            raise self._down() from None

    async def _watch(self) -> None:
        """Run the engine; restart it when it dies, until closed or too many have died."""
        while not self._is_closing:
            await self._run_one()
            if self._is_closing:
                return
            now = self._clock()
            self._deaths.append(now)
            while now - self._deaths[0] > RESTART_WINDOW:
                self._deaths.popleft()
            if self.refusal is not None or len(self._deaths) > MAX_RESTARTS:
                self.state = "failed"
                logger.error("the engine is not started again: %s", self.refusal or "it died")
                return
            logger.error("the engine died and is started again")
            self.restarts += 1
            self._metrics.engine_restarted()

    async def _run_one(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env=_environment(),
        )  # fmt: skip
        try:
            await self._send(encode(self._load_options))
            await self._read()
        except ProviderUnavailable:
            pass  # it died before it read the first line
        except Exception:
            logger.exception("the engine sent an invalid frame")
        finally:
            if not self._is_closing:
                self.state = "loading" if self._model is None else "restarting"
            await self._end_process()
            self.end_turns("the engine died while it wrote this")

    async def _end_process(self) -> None:
        process, self._process = self._process, None
        assert process is not None
        assert process.stdin is not None
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), LEAVE_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        rest = b""
        while chunk := await self._process.stdout.read(READ_BYTES):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._take(decode(line))

    def _take(self, frame: FromEngine | ToEngine) -> None:
        match frame:
            case TurnEvent():
                if turn := self._turns.get(frame.id):
                    self._push(turn, frame.event)
            case Accepted():
                turn = self._turns.get(frame.id)
                if turn is not None and not turn.accepted.done():  # done: its starter just left
                    turn.accepted.set_result(frame.prompt_tokens)
            case TurnRefused():
                error = RequestError(frame.message, param=frame.param, code=frame.code)
                self._fail(frame.id, error)
            case Failed():
                self._fail(frame.id, TurnFailed("the engine failed at this turn; the log says why"))
            case Forced():
                self._metrics.forced_final(frame.reason)
            case _:
                self._handle_engine_frame(frame)

    def _handle_engine_frame(self, frame: FromEngine | ToEngine) -> None:
        """Handle a frame about the engine itself."""
        match frame:
            case Heartbeat():
                self._note_heartbeat(frame.load)
            case LoadProgress():
                self.phase, self.share = frame.phase, frame.share
                self._progress(frame.phase, frame.share)
            case Ready():
                self._model, self.notices = frame.model, frame.notices
                self._last_heartbeat = self._last_step = self._clock()
                if not self._is_closing:
                    self.state = "ready"
                self._is_up.set()
            case LoadFailed():
                self.refusal = frame.message
            case _:
                raise ValueError(f"{type(frame).__name__} is not for the server")

    def _push(self, turn: TurnStream, event: Event) -> None:
        now = self._clock()
        if isinstance(event, Finished):
            self._metrics.finished(event.usage)
            del self._turns[turn.id]
        elif not isinstance(event, PartStarted | PartFinished):
            if turn.last is None:
                self._metrics.first_piece(now - turn.started)
            else:
                self._metrics.next_piece(now - turn.last)
            turn.last = now
        turn.push(event)
        if len(turn.waiting) > MAX_UNREAD and not turn.is_over:
            self._forget(turn)
            turn.waiting.clear()
            turn.fail(TurnFailed("nobody read the answer for too long; it was given up"))

    def _fail(self, request_id: int, error: OssiaError) -> None:
        if turn := self._turns.pop(request_id, None):
            turn.fail(error)

    def _note_heartbeat(self, load: EngineLoad) -> None:
        self._last_heartbeat = self._clock()
        if load.steps != self.current.steps:
            self._last_step = self._last_heartbeat
        self.current = load
        self._metrics.load(load)


def _environment() -> dict[str, str]:
    """Return the environment without API keys: the engine needs none."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("OSSIA_API_") and not name.endswith("_API_KEY")
    }
