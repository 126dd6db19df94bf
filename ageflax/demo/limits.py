"""How much one visitor, and all of them together, may ask for."""

import asyncio
import collections
import contextlib
import dataclasses
import ipaddress
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

# Visitors whose pace is remembered; of more, those that were longest silent are forgotten.
_VISITORS = 4096

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Limits:
    """What is refused.

    Attributes:
      max_bytes: of an upload.
      max_pixels: of a picture, told before it is decoded.
      rate: requests a second of one address, over time; twice as many at once.
      upload_seconds: in which a picture must have arrived.
      places: requests with a picture that are held at once, those that arrive and those that wait.
      places_each: of them, of one address.
      header_seconds: in which a connection must have asked for something.
      connections: open at once.
      connections_each: of them, of one address.
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
    """A request that is not answered with faces.

    Args:
      status: of HTTP.
      message: one sentence, for people.
      retry_after: seconds after which it may be asked again.
    """

    def __init__(self, status: int, message: str, *, retry_after: float | None = None):
        super().__init__(message)
        self.status, self.message, self.retry_after = status, message, retry_after


def visitor(address: str) -> str:
    """Who an address is counted as: itself; of IPv6, the network of a household."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:  # a Unix socket has none
        return address
    if parsed.version == 4:
        return address
    return str(ipaddress.ip_network((parsed, 64), strict=False))


class Rate:
    """A bucket of tokens for each visitor.

    Args:
      per_second: tokens that come.
      clock: in seconds.
    """

    def __init__(self, per_second: float, *, clock: Callable[[], float] = time.monotonic):
        self._per_second, self._most = per_second, max(2 * per_second, 1.0)
        self._clock = clock
        self._buckets: collections.OrderedDict[str, tuple[float, float]] = collections.OrderedDict()

    def take(self, who: str) -> None:
        """Takes one token.

        Raises:
          RefusedError: 429, there is none.
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
                f"Too many requests: {self._per_second:g} a second are answered.",
                retry_after=(1.0 - left) / self._per_second,
            )


class Places:
    """Requests that are held, and the threads that work on them, first come first served.

    Args:
      limits: how many there may be.
      workers: threads.
    """

    def __init__(self, limits: Limits, *, workers: int):
        self._limits = limits
        self._taken: collections.Counter[str] = collections.Counter()
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="demo")

    @contextlib.contextmanager
    def place(self, who: str) -> Iterator[None]:
        """Holds a place while a request is read and answered.

        Raises:
          RefusedError: 429 where the visitor holds too many, 503 where all are taken.
        """
        if self._taken[who] >= self._limits.places_each:
            raise RefusedError(
                429,
                f"Too many requests at once: {self._limits.places_each} are taken from one address.",
                retry_after=1.0,
            )
        if self._taken.total() >= self._limits.places:
            raise RefusedError(503, "Busy: too many pictures wait already.", retry_after=2.0)
        self._taken[who] += 1
        try:
            yield
        finally:
            self._taken[who] -= 1
            if not self._taken[who]:
                del self._taken[who]

    async def work(self, function: Callable[[], T]) -> T:
        """The result of a function, by one of the threads."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, function)

    def close(self) -> None:
        """Takes no more work; what has begun ends by itself."""
        self._pool.shutdown(wait=False, cancel_futures=True)
