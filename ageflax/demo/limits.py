"""Limits on requests, per visitor and in total, and the error for a refused request."""

import asyncio
import collections
import contextlib
import dataclasses
import ipaddress
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

# Number of visitors whose rate is tracked; beyond it the longest silent are dropped.
_VISITORS = 4096

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Limits:
    """Limits on requests and connections; an address is a visitor, see `visitor`.

    Attributes:
      max_bytes: largest upload.
      max_pixels: largest picture, checked before it is decoded.
      rate: sustained requests per second from one address; bursts may have twice as many.
      upload_seconds: time for a picture to arrive.
      places: concurrent requests with a picture, uploading or waiting.
      places_each: concurrent requests with a picture from one address.
      header_seconds: time for a connection to send its request.
      connections: open connections.
      connections_each: open connections from one address.
    """

    max_bytes: int = 16_000_000
    max_pixels: int = 50_000_000
    rate: float = 60.0
    upload_seconds: float = 20.0
    places: int = 24
    places_each: int = 8
    header_seconds: float = 10.0
    connections: int = 256
    connections_each: int = 64


class RefusedError(Exception):
    """A refused request.

    Args:
      status: HTTP status.
      message: reason in one sentence, for people.
      retry_after: seconds to wait before another try.
    """

    def __init__(self, status: int, message: str, *, retry_after: float | None = None):
        super().__init__(message)
        self.status, self.message, self.retry_after = status, message, retry_after


def visitor(address: str) -> str:
    """The visitor of an address: the address itself, or the /64 network (a household) for IPv6."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:  # a Unix socket has none
        return address
    if parsed.version == 4:
        return address
    return str(ipaddress.ip_network((parsed, 64), strict=False))


class Rate:
    """Rate limit: a token bucket per visitor.

    Args:
      per_second: tokens added per second.
      clock: current time in seconds.
    """

    def __init__(self, per_second: float, *, clock: Callable[[], float] = time.monotonic):
        self._per_second, self._most = per_second, max(2 * per_second, 1.0)
        self._clock = clock
        self._buckets: collections.OrderedDict[str, tuple[float, float]] = collections.OrderedDict()

    def take(self, who: str) -> None:
        """Takes one token from a visitor's bucket.

        Raises:
          RefusedError: 429, the bucket is empty.
        """
        now = self._clock()
        left, since = self._buckets.pop(who, (self._most, now))
        left = min(left + (now - since) * self._per_second, self._most)
        granted = left >= 1.0
        self._buckets[who] = (left - granted, now)
        while len(self._buckets) > _VISITORS:
            self._buckets.popitem(last=False)
        if not granted:
            raise RefusedError(
                429,
                f"Too many requests: at most {self._per_second:g} per second.",
                retry_after=(1.0 - left) / self._per_second,
            )


class Places:
    """Concurrent requests, and the threads that process them in order of arrival.

    Args:
      limits: limits on their number.
      workers: number of threads.
    """

    def __init__(self, limits: Limits, *, workers: int):
        self._limits = limits
        self._taken: collections.Counter[str] = collections.Counter()
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="demo")

    @contextlib.contextmanager
    def place(self, who: str) -> Iterator[None]:
        """Holds a place while a request is read and answered.

        Raises:
          RefusedError: 429, the visitor holds too many; 503, all are taken.
        """
        if self._taken[who] >= self._limits.places_each:
            raise RefusedError(
                429,
                f"Too many requests at once: at most {self._limits.places_each} from one address.",
                retry_after=1.0,
            )
        if self._taken.total() >= self._limits.places:
            raise RefusedError(503, "Busy: too many pictures are waiting.", retry_after=2.0)
        self._taken[who] += 1
        try:
            yield
        finally:
            self._taken[who] -= 1
            if not self._taken[who]:
                del self._taken[who]

    async def work(self, function: Callable[[], T]) -> T:
        """Runs a function in one of the threads and returns its result."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, function)

    def close(self) -> None:
        """Accepts no more work; work in progress finishes."""
        self._pool.shutdown(wait=False, cancel_futures=True)
