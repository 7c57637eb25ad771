"""Who runs in the next step, and how many tokens of it. Integers only: knows no array, no clock.

First come, first served. Those that write go first with one token each (or a forced run, or a
guess); what is left of the step goes to prompts, in chunks, which are short while others write.
When pages run out, kept beginnings of texts are forgotten; then the youngest gives its own back
and starts over later: its tokens are kept, only their keys are computed again.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from ossia.engine.block_manager import PageOwner
from ossia.engine.prefix_cache import Prefix, PrefixCache, common

SHARED = 8
"""While others write, prompts get this part of a step: nobody waits longer than for that."""
NO_GUESSES: Mapping[int, int] = MappingProxyType({})


@dataclass(slots=True, eq=False)
class Sequence:
    """One request, as the scheduler sees it."""

    request_id: int
    tokens: list[int]
    """Prompt and answer so far: the engine's own list, which grows."""
    num_prompt: int
    cuts: set[int]
    """Lengths at which to keep what was read so far."""
    computed: int = 0
    """Tokens whose keys and values are in the cache."""
    pages: list[int] = field(default_factory=list)
    ring: int | None = None

    @property
    def left(self) -> int:
        """Tokens to go through before the next can be sampled."""
        return len(self.tokens) - self.computed


@dataclass(frozen=True, slots=True)
class Turn:
    """What one request does in one step: tokens `past` to `past + count`, then perhaps sample."""

    request_id: int
    past: int
    count: int
    pages: tuple[int, ...]
    ring: int
    samples: bool
    guesses: int = 0
    """How many of the tokens are guesses at what comes next."""


@dataclass(frozen=True, slots=True)
class Copy:
    """Keys to copy, from one place to another."""

    ring: tuple[int, int]
    """In every windowed layer."""
    page: tuple[int, int] | None = None
    """In every full layer."""


@dataclass(frozen=True, slots=True)
class Work:
    """One step: what to copy first, in order, and then who runs; oldest request first."""

    copies: list[Copy]
    turns: list[Turn]


class Scheduler:
    """Decides, step by step; `settle` tells it that the step was run."""

    def __init__(
        self, pages: PageOwner, *, max_running: int, max_batch_tokens: int, max_kept: int
    ) -> None:
        self._pages = pages
        self._kept = PrefixCache(pages, max_kept=max_kept)
        self._max_running = max_running
        self._max_batch_tokens = max_batch_tokens
        self._waiting: deque[Sequence] = deque()
        self._running: list[Sequence] = []  # oldest first

        self.num_preempted = 0
        """How often a request gave its pages to an older one and began anew."""

    @property
    def idle(self) -> bool:
        """Whether there is nothing to run."""
        return not self._waiting and not self._running

    @property
    def num_running(self) -> int:
        """Requests that have pages, or will have them in the next step."""
        return len(self._running)

    @property
    def num_waiting(self) -> int:
        """Requests that wait for their turn."""
        return len(self._waiting)

    def add(self, request_id: int, tokens: list[int], cache_points: Iterable[int] = ()) -> None:
        """Queue a request.

        Args:
            request_id: not that of another.
            tokens: the prompt; what is written later is appended to this list.
            cache_points: lengths at which other texts that begin alike may part from it.
        """
        cuts = {each for each in cache_points if 0 < each < len(tokens)}
        self._waiting.append(Sequence(request_id, tokens, len(tokens), cuts))

    def remove(self, request_id: int) -> None:
        """Forget a request, running or waiting; its pages are free at once."""
        for one in self._running:
            if one.request_id == request_id:
                self._release(one)
                self._running.remove(one)
                return
        self._waiting = deque(one for one in self._waiting if one.request_id != request_id)

    def finish(self, request_id: int) -> list[Copy]:
        """The same for a request that has said all; a text that goes on from it may come."""
        copies = [
            copy
            for one in self._running
            if one.request_id == request_id
            for copy in self._keep(one)
        ]
        self.remove(request_id)
        return copies

    def next_step(self, guesses: Mapping[int, int] = NO_GUESSES) -> Work:
        """Choose the turns of one step; none only when idle.

        Args:
            guesses: for some that write, how many tokens are guessed to come next; they may be
                left out, and are never the reason that another makes way.
        """
        self._admit()
        left, work = self._max_batch_tokens, Work([], [])
        granted: dict[int, Turn] = {}
        is_shared = not all(map(self._is_reading, self._running))
        waiting = [one for one in self._running if self._is_being_read(one)]
        for one in sorted(self._running, key=self._is_reading):  # stable: each kind oldest first
            if is_shared and self._is_reading(one):
                left = min(left, max(1, self._max_batch_tokens // SHARED))
            if one not in self._running or one in waiting or not one.left or not left:
                continue  # it may have given its pages to an older one, in this very loop
            if turn := self._grant(one, left, guesses, granted, work.copies):
                granted[one.request_id] = turn
                left -= turn.count
        running = (granted.get(one.request_id) for one in self._running)
        work.turns.extend(turn for turn in running if turn is not None)
        return work

    def settle(self, turns: list[Turn]) -> list[Copy]:
        """The step was run: these tokens have their keys now, guesses apart; what to copy next."""
        done = {turn.request_id: turn for turn in turns}
        copies = []
        for one in self._running:
            if turn := done.get(one.request_id):
                one.computed += turn.count - turn.guesses
                was_read = turn.samples and turn.past < one.num_prompt
                if was_read or one.computed in one.cuts:
                    copies += self._keep(one)
        return copies

    def confirm(self, request_id: int, num_tokens: int) -> None:
        """So many guesses of the last step came true and were appended: they have their keys."""
        for one in self._running:
            if one.request_id == request_id:
                one.computed += num_tokens

    def _is_reading(self, one: Sequence) -> bool:
        """Whether a prompt is being read; what is shorter than a page may be a forced run."""
        return one.left > self._pages.page_tokens

    def _admit(self) -> None:
        while self._waiting and len(self._running) < self._max_running:
            first = min(self._waiting[0].left, self._max_batch_tokens)
            if self._pages.available < self._pages.needed(first):
                return
            one = self._waiting.popleft()
            one.ring = self._pages.take_ring()
            self._running.append(one)

    def _grant(
        self,
        one: Sequence,
        left: int,
        guesses: Mapping[int, int],
        granted: dict[int, Turn],
        copies: list[Copy],
    ) -> Turn | None:
        """Give `one` its part of what is left of a step; None: it made way for an older one."""
        restored = self._restore(one)
        past = one.computed
        cut = min((cut for cut in one.cuts if cut > past), default=past + left)
        count = min(one.left, left, cut - past)
        samples = count == one.left
        if not self._make_room(one, past + count, granted):
            return None
        extra = 0
        # behind more than one token, wrong guesses could push what they follow out of a ring
        if one.left == 1 and (wanted := guesses.get(one.request_id, 0)):
            extra = min(wanted, max(0, left - count - len(self._running)))
            if self._missing(one, past + count + extra) > self._pages.available:
                extra = 0
            self._make_room(one, past + count + extra, granted)
        if restored is not None:
            copies.append(self._copy_of(restored, one, past))
        assert one.ring is not None, "a running sequence owns a ring"
        return Turn(one.request_id, past, count + extra, tuple(one.pages), one.ring, samples, extra)

    def _is_being_read(self, one: Sequence) -> bool:
        """Whether an older one reads what `one` begins with: it waits, and goes on from there."""
        if one.pages or not self._kept.max_kept:
            return False
        known = self._kept.find(one.tokens)
        least = (len(known.tokens) if known else 0) + self._pages.page_tokens
        for other in self._running[: self._running.index(one)]:
            length = common(other.tokens, one.tokens)
            if length >= least and other.computed < length:
                other.cuts.add(length)
                return True
        return False

    def _restore(self, one: Sequence) -> Prefix | None:
        """Let a sequence without keys begin after the longest beginning that was kept of it."""
        if one.pages:
            return None
        length = self._kept.parting(one.tokens)
        found = self._kept.find(one.tokens)
        if found is not None:
            # the last token is always read: somebody wants to know what comes after it
            one.computed = min(len(found.tokens), one.left - 1)
            one.pages = list(found.pages[: one.computed // self._pages.page_tokens])
            self._pages.use(one.pages)
        if length >= one.computed + self._pages.page_tokens:
            one.cuts.add(length)
        return found

    def _copy_of(self, found: Prefix, one: Sequence, past: int) -> Copy:
        """A page that is not full goes on differently in each text: it is copied, not shared."""
        assert one.ring is not None, "a running sequence owns a ring"
        whole, rest = divmod(past, self._pages.page_tokens)
        page = (found.pages[whole], one.pages[whole]) if rest else None
        return Copy((found.ring, one.ring), page)

    def _keep(self, one: Sequence) -> list[Copy]:
        assert one.ring is not None, "a running sequence owns a ring"
        pages = one.pages[: self._pages.needed(one.computed)]
        ring = self._kept.keep(one.tokens[: one.computed], pages)
        return [] if ring is None else [Copy((one.ring, ring))]

    def _missing(self, one: Sequence, tokens: int) -> int:
        return max(0, self._pages.needed(tokens) - len(one.pages))

    def _make_room(self, one: Sequence, tokens: int, granted: dict[int, Turn]) -> bool:
        """Give `one` pages for `tokens`, the youngest others making way; False: it made way."""
        missing = self._missing(one, tokens)
        while self._pages.available < missing:
            youngest = self._running[-1]
            granted.pop(youngest.request_id, None)
            self._preempt(youngest)
            if youngest is one:
                return False
        self._kept.make_room(missing)
        one.pages += self._pages.take_pages(missing)
        return True

    def _preempt(self, one: Sequence) -> None:
        self.num_preempted += 1
        self._running.remove(one)
        self._release(one)
        one.computed = 0
        self._waiting.appendleft(one)

    def _release(self, one: Sequence) -> None:
        assert one.ring is not None, "a running sequence owns a ring"
        self._pages.give_back(reversed(one.pages))
        self._pages.give_ring(one.ring)
        one.pages, one.ring = [], None
