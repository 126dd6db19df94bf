"""A run's messages on standard error: progress bars on a terminal, plain lines elsewhere."""

import sys
import time
from typing import Any

from tqdm import tqdm

_SECONDS_BETWEEN_LINES = 10.0


_silent = False


def silence() -> None:
    """Suppresses all further messages: another process of the run prints them."""
    global _silent
    _silent = True


def say(line: str) -> None:
    """Prints a line on standard error, above any progress bar."""
    if _silent:
        return
    tqdm.write(line, file=sys.stderr)


class Progress:
    """Counts towards a total: a bar on a terminal, elsewhere a line every ten seconds.

    Args:
      total: count at 100 %; None if unknown.
      unit: singular name of the counted things, such as "step" or "face".
      label: name of the activity.
      initial: count reached by an earlier run.
    """

    def __init__(self, total: int | None, *, unit: str, label: str, initial: int = 0):
        self._label, self._unit, self._total = label, unit, total
        self._done, self._initial = initial, initial
        self._started = self._printed = time.monotonic()
        self._notes: dict[str, Any] = {}
        self._bar = None
        if sys.stderr.isatty() and not _silent:
            self._bar = tqdm(
                total=total, initial=initial, desc=label, unit=unit, dynamic_ncols=True, leave=False
            )

    def update(self, done: int = 1, **notes: Any) -> None:
        """Adds to the count; notes, such as loss=1.2, are shown until replaced."""
        self._done += done
        self._notes |= notes
        if self._bar is not None:
            if notes:
                self._bar.set_postfix(self._notes, refresh=False)
            self._bar.update(done)
        elif time.monotonic() - self._printed > _SECONDS_BETWEEN_LINES:
            self._printed = time.monotonic()
            rate = (self._done - self._initial) / (self._printed - self._started)
            extra = "".join(f"  {key} {value}" for key, value in self._notes.items())
            of_total = "" if self._total is None else f"/{self._total}"
            say(
                f"{self._label}: {self._done}{of_total} {self._unit}s"
                f"  {rate:.3g} {self._unit}s/s{extra}"
            )

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()
