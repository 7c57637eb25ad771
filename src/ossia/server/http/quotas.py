"""Rate and concurrency limits per caller. Knows no HTTP and no keys.

Times are seconds of a monotonic clock.
"""

import ipaddress
import math
from collections import OrderedDict
from dataclasses import dataclass, field

MAX_CALLERS = 10_000
"""Tracked callers; the least recently seen is dropped first."""


@dataclass(slots=True)
class _Bucket:
    """A token bucket; a request takes one token."""

    tokens: float
    seen: float


class RateLimit:
    """Requests per minute for each caller, as a token bucket of one minute."""

    def __init__(self, per_minute: int | None) -> None:
        self._per_minute = per_minute
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def wait(self, caller: str, now: float) -> int:
        """Count a request; return 0 if it is allowed, else whole seconds until one is."""
        if self._per_minute is None:
            return 0
        most, each_second = float(self._per_minute), self._per_minute / 60
        bucket = self._buckets.pop(caller, None) or _Bucket(most, now)
        self._buckets[caller] = bucket
        if len(self._buckets) > MAX_CALLERS:
            self._buckets.popitem(last=False)
        bucket.tokens = min(most, bucket.tokens + (now - bucket.seen) * each_second)
        bucket.seen = now
        if bucket.tokens < 1:
            return math.ceil((1 - bucket.tokens) / each_second)
        bucket.tokens -= 1
        return 0


@dataclass(slots=True)
class ConcurrencyLimit:
    """Concurrent requests for each caller."""

    most: int | None
    _counts: dict[str, int] = field(default_factory=dict)

    def begin(self, caller: str) -> bool:
        """Count a request; False if the limit is reached."""
        count = self._counts.get(caller, 0)
        if self.most is not None and count >= self.most:
            return False
        self._counts[caller] = count + 1
        return True

    def end(self, caller: str) -> None:
        """Count a finished request."""
        self._counts[caller] -= 1
        if not self._counts[caller]:
            del self._counts[caller]


@dataclass(slots=True)
class _Tries:
    count: int
    until: float


class WrongKeys:
    """Blocks addresses that sent too many wrong keys for a while."""

    def __init__(self, most: int, seconds: float) -> None:
        self._most = most
        self._seconds = seconds
        self._tries: OrderedDict[str, _Tries] = OrderedDict()

    def wait(self, address: str, now: float) -> int:
        """Return 0 if this address may try a key, else whole seconds until it may."""
        tries = self._tries.get(_block(address))
        if tries is None or tries.count < self._most or now >= tries.until:
            return 0
        return math.ceil(tries.until - now)

    def count(self, address: str, now: float) -> None:
        """Count a wrong key."""
        block = _block(address)
        tries = self._tries.pop(block, None)
        if tries is None or now >= tries.until:
            tries = _Tries(0, now + self._seconds)
        tries.count += 1
        self._tries[block] = tries
        if len(self._tries) > MAX_CALLERS:
            self._tries.popitem(last=False)


def _block(address: str) -> str:
    """Return the unit of blocking: an IPv4 address, or the /64 of an IPv6 address."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if found.version == 4:
        return address
    if found.ipv4_mapped:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, 64), strict=False))
