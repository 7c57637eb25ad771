"""The engine's process: loads the model, runs requests and reports their events.

    python -m ossia.providers.worker

Speaks `ipc` over stdin and stdout; knows no HTTP. The process ends when stdin does.
"""

import contextlib
import hashlib
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, BinaryIO

from ossia import __version__
from ossia.chat.constraint import OutputConstraint
from ossia.chat.llm import LLM, PreparedRequest
from ossia.checkpoint.counts import parameters
from ossia.engine.options import LoadOptions
from ossia.engine.request import TokenEvent
from ossia.engine.service import Submission
from ossia.errors import OssiaError, RequestError, log_failure
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
    TurnEvent,
    TurnRefused,
    decode,
    encode,
)
from ossia.providers.provider import ServedModel

HEARTBEAT_SECONDS = 0.5
NUM_PREPARERS = 2
"""Requests prepared in parallel with the engine: long prompts and large schemas take a while."""


@dataclass(slots=True, eq=False)
class _Running:
    """A request between its acceptance and its end."""

    id: int
    prepared: PreparedRequest[Any]
    submission: Submission | None = None


class Worker:
    """Runs the requests of one pipe over one model."""

    def __init__(self, llm: LLM, send: Callable[[bytes], None]) -> None:
        """Start the worker's threads.

        Args:
            llm: the loaded model.
            send: writes whole lines; may be called from any thread.
        """
        self._llm = llm
        self._send = send
        self._executor = ThreadPoolExecutor(NUM_PREPARERS, thread_name_prefix="ossia-prepare")
        self._running: dict[int, _Running | None] = {}  # None: still being prepared
        self._lock = threading.Lock()
        self._tokens: queue.SimpleQueue[tuple[_Running, TokenEvent] | None] = queue.SimpleQueue()
        self._closed = threading.Event()
        self._threads = [
            threading.Thread(target=target, name=name, daemon=True)
            for target, name in (
                (self._pump, "ossia-pump"),
                (self._send_heartbeats, "ossia-heartbeat"),
            )
        ]
        for thread in self._threads:
            thread.start()

    def warm(self) -> None:
        """Compile the grammars of tools and schemas in the background."""
        self._executor.submit(self._llm.warm)

    def take(self, frame: object) -> None:
        """Handle one frame from the server."""
        match frame:
            case StartTurn() | StartCompletion():
                with self._lock:
                    self._running[frame.id] = None
                self._executor.submit(self._admit, frame)
            case Cancel():
                self._cancel(frame.id)
            case _:
                raise ValueError(f"{type(frame).__name__} is not for a running engine")

    def close(self) -> None:
        """Stop the engine and the threads; running requests are cancelled."""
        self._closed.set()
        self._executor.shutdown(wait=True, cancel_futures=True)
        self._llm.close()
        self._tokens.put(None)
        for thread in self._threads:
            thread.join()

    def _admit(self, start: StartTurn | StartCompletion) -> None:
        try:
            prepared = self._prepare(start)
            running = _Running(start.id, prepared)
            with self._lock:
                if start.id not in self._running:
                    return  # cancelled before it was prepared
                self._running[start.id] = running
            self._send(encode(Accepted(start.id, len(prepared.request.prompt))))
            submission = self._llm.submit(
                prepared, lambda event: self._tokens.put((running, event))
            )
            with self._lock:
                running.submission = submission
                is_wanted = start.id in self._running
            if not is_wanted:  # cancelled before `submission` was set
                self._llm.cancel(submission)
        except RequestError as error:
            self._end(start.id, TurnRefused(start.id, str(error), error.param, error.code))
        except Exception as error:
            log_failure(error, f"turn {start.id}")
            self._end(start.id, Failed(start.id))

    def _prepare(self, start: StartTurn | StartCompletion) -> PreparedRequest[Any]:
        if isinstance(start, StartTurn):
            return self._llm.prepare_turn(start.request)
        return self._llm.prepare_raw(start.request)

    def _cancel(self, request_id: int) -> None:
        with self._lock:
            running = self._running.pop(request_id, None)
        if running is not None and running.submission is not None:
            self._llm.cancel(running.submission)

    def _end(self, request_id: int, frame: FromEngine) -> None:
        with self._lock:
            self._running.pop(request_id, None)
        self._send(encode(frame))

    def _pump(self) -> None:
        """Parse tokens into events; waiting tokens are sent in one write."""
        while (first := self._tokens.get()) is not None:
            lines, waiting = list(self._read(*first)), self._tokens.qsize()
            for _ in range(waiting):
                more = self._tokens.get()
                if more is None:
                    self._send(b"".join(lines))
                    return
                lines.extend(self._read(*more))
            if lines:
                self._send(b"".join(lines))

    def _read(self, running: _Running, token: TokenEvent) -> list[bytes]:
        with self._lock:
            if running.id not in self._running:
                return []  # cancelled; the last tokens of a step still come
        try:
            return self._lines(running, token)
        except Exception as error:  # one turn that fails to parse must not stop the others
            log_failure(error, f"turn {running.id}")
            self._cancel(running.id)
            return [encode(Failed(running.id))]

    def _lines(self, running: _Running, token: TokenEvent) -> list[bytes]:
        frames: list[FromEngine] = []
        parser = running.prepared.parser
        if token.error is not None:
            log_failure(token.error, f"turn {running.id}")
            frames.append(Failed(running.id))
        else:
            frames.extend(TurnEvent(running.id, event) for event in parser.push(token))
        if parser.ended or token.error is not None:
            constraint = running.prepared.request.constraint
            if isinstance(constraint, OutputConstraint) and constraint.closed_because is not None:
                frames.insert(0, Forced(running.id, constraint.closed_because))
            if token.finish_reason is None:  # a stop string ended it before the engine did
                self._cancel(running.id)
            with self._lock:
                self._running.pop(running.id, None)
        return [encode(frame) for frame in frames]

    def _send_heartbeats(self) -> None:
        while not self._closed.wait(HEARTBEAT_SECONDS):
            self._send(encode(Heartbeat(self._llm.load)))


def served(llm: LLM) -> ServedModel:
    """Return what the server needs to know about a loaded model."""
    tokenizer, config = llm.tokenizer, llm.config
    if tokenizer is None:
        raise RequestError(
            f"{llm.checkpoint.folder} has no tokenizer.json, which serving needs; "
            "copy it from the original model"
        )
    files = (f"{path.name} {path.stat().st_size}" for path in llm.checkpoint.files)
    facts = "\n".join((__version__, llm.ops.layout or "", type(llm.ops).__name__, *files))
    return ServedModel(
        name=llm.name,
        context_length=llm.context_length,
        max_running=llm.plan.max_running,
        vocab_size=config.vocab_size,
        control_ids=tuple(sorted(tokenizer.control.values())),
        num_params=parameters(config),
        num_bytes=llm.checkpoint.total_bytes,
        backend=type(llm.ops).__name__,
        fingerprint=f"fp_{hashlib.sha256(facts.encode()).hexdigest()[:12]}",
    )


def serve(lines: BinaryIO, send: Callable[[bytes], None]) -> int:
    """Load the model that the first line names, then handle frames until stdin ends."""
    load_options = decode(lines.readline())
    assert isinstance(load_options, LoadOptions), "the first line names the model"
    try:
        llm = LLM.from_options(
            load_options, progress=lambda phase, share: send(encode(LoadProgress(phase, share)))
        )
        model = served(llm)
    except OssiaError as error:
        send(encode(LoadFailed(str(error))))
        return 1
    worker = Worker(llm, send)
    worker.warm()
    send(encode(Ready(model, llm.notices)))
    for line in lines:
        worker.take(decode(line))
    worker.close()
    return 0


def main() -> None:
    """Reserve stdout for frames and leave signals to the server."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    pipe = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    lock = threading.Lock()

    def send(lines: bytes) -> None:
        rest = memoryview(lines)
        with lock, contextlib.suppress(BrokenPipeError):  # the server is gone; stdin ends too
            while rest:
                rest = rest[pipe.write(rest) :]

    raise SystemExit(serve(sys.stdin.buffer, send))


if __name__ == "__main__":
    main()
