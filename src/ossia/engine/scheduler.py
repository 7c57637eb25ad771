"""Who runs in the next step, and how many tokens of it. Integers only: knows no array, no clock.

First come, first served. Those that write go first with one token each (or a forced run); what is
left of the step's tokens goes to prompts, in chunks. When pages run out, the youngest gives its own
back and starts over later: its tokens are kept, only their keys are computed again.
"""

from collections import deque
from dataclasses import dataclass, field

from ossia.engine.pages import PageOwner


@dataclass(slots=True)
class Sequence:
    """One request, as the scheduler sees it."""

    request_id: int
    known: int
    """Tokens there are: prompt and answer so far."""
    computed: int = 0
    """Tokens whose keys and values are in the cache."""
    pages: list[int] = field(default_factory=list)
    ring: int | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """What one request does in one step: tokens `past` to `past + count`, then perhaps sample."""

    request_id: int
    past: int
    count: int
    pages: tuple[int, ...]
    ring: int
    samples: bool


class Scheduler:
    """Decides, step by step; `settle` tells it that the step was run."""

    def __init__(self, pages: PageOwner, *, max_running: int, step_tokens: int) -> None:
        self._pages = pages
        self._max_running = max_running
        self._step_tokens = step_tokens
        self._waiting: deque[Sequence] = deque()
        self._running: list[Sequence] = []  # oldest first

    @property
    def idle(self) -> bool:
        """Whether there is nothing to run."""
        return not self._waiting and not self._running

    def add(self, request_id: int, num_tokens: int) -> None:
        """Queue a request with its prompt."""
        self._waiting.append(Sequence(request_id, known=num_tokens))

    def extend(self, request_id: int, num_tokens: int) -> None:
        """A request has this many more tokens to go through."""
        for one in (*self._running, *self._waiting):
            if one.request_id == request_id:
                one.known += num_tokens

    def remove(self, request_id: int) -> None:
        """Forget a request, running or waiting; its pages are free at once."""
        for one in self._running:
            if one.request_id == request_id:
                self._release(one)
                self._running.remove(one)
                return
        self._waiting = deque(one for one in self._waiting if one.request_id != request_id)

    def next_step(self) -> list[Turn]:
        """Choose the turns of one step, oldest request first; empty only when idle."""
        self._admit()
        budget = self._step_tokens
        granted: dict[int, int] = {}
        for one in sorted(self._running, key=self._is_reading):  # stable: each kind oldest first
            if one not in self._running:
                continue  # it gave its pages to an older one, in this very loop
            count = min(one.known - one.computed, budget)
            if count > 0 and self._make_room(one, one.computed + count, granted):
                granted[one.request_id] = count
                budget -= count
        return [
            self._turn(one, granted[one.request_id])
            for one in self._running
            if one.request_id in granted
        ]

    def settle(self, turns: list[Turn]) -> None:
        """The step was run: these tokens have their keys now."""
        counts = {turn.request_id: turn.count for turn in turns}
        for one in self._running:
            one.computed += counts.get(one.request_id, 0)

    def _is_reading(self, one: Sequence) -> bool:
        """Whether a prompt is being read; what is shorter than a page may be a forced run."""
        return one.known - one.computed > self._pages.page_tokens

    def _admit(self) -> None:
        while self._waiting and len(self._running) < self._max_running:
            first = min(self._waiting[0].known, self._step_tokens)
            if self._pages.free_rings == 0 or self._pages.free_pages < self._pages.missing(
                0, first
            ):
                return
            one = self._waiting.popleft()
            one.ring = self._pages.take_ring()
            self._running.append(one)

    def _make_room(self, one: Sequence, tokens: int, granted: dict[int, int]) -> bool:
        """Give `one` pages for `tokens`, the youngest others making way; False: it made way."""
        missing = self._pages.missing(len(one.pages), tokens)
        while self._pages.free_pages < missing:
            youngest = self._running[-1]
            granted.pop(youngest.request_id, None)
            self._preempt(youngest)
            if youngest is one:
                return False
        one.pages += self._pages.take_pages(missing)
        return True

    def _preempt(self, one: Sequence) -> None:
        self._running.remove(one)
        self._release(one)
        one.computed = 0
        self._waiting.appendleft(one)

    def _release(self, one: Sequence) -> None:
        assert one.ring is not None, "a running sequence owns a ring"
        self._pages.give_back(one.pages, one.ring)
        one.pages, one.ring = [], None

    def _turn(self, one: Sequence, count: int) -> Turn:
        assert one.ring is not None, "a running sequence owns a ring"
        past = one.computed
        samples = past + count == one.known
        return Turn(one.request_id, past, count, tuple(one.pages), one.ring, samples)
