"""The server's Prometheus metrics. No label contains a caller's text."""

import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from ossia import __version__
from ossia.chat.events import Usage
from ossia.engine.engine import EngineLoad

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_GAPS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 10)


class Metrics:
    """The metrics of one server."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Register every metric; `clock` returns seconds."""
        self.clock = clock
        self.registry = CollectorRegistry()
        self._requests = self._counter("requests", "HTTP responses.", "endpoint", "status")
        self._durations = self._histogram(
            "request_duration_seconds", "From a request to the end of its response.", "endpoint"
        )
        self._first = self._histogram(
            "time_to_first_token_seconds", "From a turn's start to its first text."
        )
        self._gaps = self._histogram(
            "inter_token_latency_seconds", "Between two pieces of a turn.", buckets=_GAPS
        )
        self._running = self._gauge("num_requests_running", "Running turns.")
        self._waiting = self._gauge("num_requests_waiting", "Waiting turns.")
        self._cache = self._gauge("kv_cache_usage_ratio", "Share of the KV cache in use, 0 to 1.")
        self._preempted = self._gauge(
            "preemptions_total", "Turns preempted because the KV cache was full."
        )
        self._prompt = self._counter("prompt_tokens", "Prompt tokens.")
        self._written = self._counter("generation_tokens", "Generated tokens.")
        self._reasoning = self._counter("reasoning_tokens", "Generated tokens of reasoning.")
        self._cached = self._counter(
            "prefix_cache_hits", "Prompt tokens found in the prefix cache."
        )
        self._memory = self._counter(
            "token_memory_hits", "Messages restored with their exact token ids."
        )
        self._forced = self._counter(
            "forced_final", "Turns whose reasoning was ended early.", "reason"
        )
        self._output_errors = self._counter(
            "output_grammar_errors", "Outputs outside the harmony grammar; stays 0."
        )
        self._tools = self._counter("tool_calls", "Tool calls.", "tool", "outcome")
        self._restarts = self._counter("engine_restarts", "Restarts of the engine.")
        self._queries = self._counter(
            "prefix_cache_queries", "Prompt tokens looked up in the prefix cache."
        )
        build = Gauge(
            "ossia_build_info",
            "The version of ossia.",
            labelnames=("version",),
            registry=self.registry,
        )
        build.labels(__version__).set(1)

    def text(self) -> bytes:
        """Return every metric in the text format of Prometheus."""
        return generate_latest(self.registry)

    def answered(self, endpoint: str, status: int, seconds: float) -> None:
        """Record a finished HTTP response."""
        self._requests.labels(endpoint, str(status)).inc()
        self._durations.labels(endpoint).observe(seconds)

    def first_piece(self, seconds: float) -> None:
        """Record the time from a turn's start to its first text."""
        self._first.observe(seconds)

    def next_piece(self, seconds: float) -> None:
        """Record the time between two pieces of a turn's text."""
        self._gaps.observe(seconds)

    def finished(self, usage: Usage) -> None:
        """Record the token usage of a finished turn."""
        self._prompt.inc(usage.prompt_tokens)
        self._queries.inc(usage.prompt_tokens)
        self._cached.inc(usage.cached_tokens)
        self._written.inc(usage.completion_tokens)
        self._reasoning.inc(usage.reasoning_tokens)

    def forced_final(self, reason: str) -> None:
        """Record that a turn's reasoning was ended early."""
        self._forced.labels(reason).inc()

    def remembered(self, messages: int) -> None:
        """Record messages restored with their exact token ids."""
        self._memory.inc(messages)

    def tool_called(self, kind: str, outcome: str) -> None:
        """Record a tool call; `kind` is function or custom, never the tool's name."""
        self._tools.labels(kind, outcome).inc()

    def engine_restarted(self) -> None:
        """Record a restart of the engine."""
        self._restarts.inc()

    def load(self, load: EngineLoad) -> None:
        """Record the load that the engine reports."""
        self._running.set(load.running)
        self._waiting.set(load.waiting)
        self._cache.set(load.cache_usage)
        self._preempted.set(load.preempted)

    def _counter(self, name: str, help_text: str, *labels: str) -> Counter:
        return Counter(f"ossia_{name}", help_text, labels, registry=self.registry)

    def _gauge(self, name: str, help_text: str) -> Gauge:
        return Gauge(f"ossia_{name}", help_text, registry=self.registry)

    def _histogram(
        self, name: str, help_text: str, *labels: str, buckets: tuple[float, ...] = _SECONDS
    ) -> Histogram:
        return Histogram(
            f"ossia_{name}", help_text, labels, registry=self.registry, buckets=buckets
        )
