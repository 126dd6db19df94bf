"""Whether a process stays as it is: its memory, open files and threads, and a folder's size, over time."""

import contextlib
import dataclasses
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

# The first share of a run, in which caches and pools fill.
WARM_UP = 0.2
# What memory and disk may grow by after it, of what they were: allocators and garbage are never quite still.
ALLOWED = 0.05


@dataclasses.dataclass(frozen=True)
class Sample:
    """A look at this process.

    Attributes:
      seconds: since the first look.
      done: units of work so far.
      memory: bytes resident.
      files: open descriptors.
      threads: of this process.
      disk: bytes of the files below the folder.
    """

    seconds: float
    done: int
    memory: int
    files: int
    threads: int
    disk: int


def _disk(folder: Path) -> int:
    found = 0
    for directory, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # rotated away meanwhile
                found += (Path(directory) / name).stat().st_size
    return found


def look(seconds: float, done: int, folder: Path) -> Sample:
    """A sample of this process, from /proc."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return Sample(
        seconds=seconds,
        done=done,
        memory=pages * os.sysconf("SC_PAGE_SIZE"),
        files=len(os.listdir("/proc/self/fd")),  # noqa: PTH208
        threads=len(os.listdir("/proc/self/task")),  # noqa: PTH208
        disk=_disk(folder),
    )


@contextlib.contextmanager
def watched(
    done: Callable[[], int], folder: Path, *, every: float, sample: Callable[[Sample], None]
) -> Iterator[None]:
    """Within it this process is looked at every so many seconds, by a thread of its own."""
    left, started = threading.Event(), time.monotonic()

    def watch() -> None:
        while not left.wait(every):
            sample(look(time.monotonic() - started, done(), folder))

    thread = threading.Thread(target=watch, name="soak", daemon=True)
    thread.start()
    try:
        yield
    finally:
        left.set()
        thread.join()


def _growth(seconds: np.ndarray, values: np.ndarray) -> float:
    """By how much a straight line through the values rises from the first to the last."""
    slope, _ = np.polyfit(seconds, values, 1)
    return float(slope * (seconds[-1] - seconds[0]))


def judged(samples: Sequence[Sample], *, allowed: float = ALLOWED) -> tuple[list[str], list[str]]:
    """What was measured after the warm-up, a line each, and those of them that are not flat.

    Each may rise by `allowed` of what it was, and a count by one. By a line through the samples, so that
    a single peak is no leak.
    """
    warm = [
        s
        for s in samples
        if s.seconds - samples[0].seconds > WARM_UP * (samples[-1].seconds - samples[0].seconds)
    ]
    if len(warm) < 4:
        return [], ["too few samples; run for longer"]
    seconds = np.array([s.seconds for s in warm])
    lines, uneven = [], []
    for name in ("memory", "disk", "files", "threads"):
        counted = name in ("files", "threads")
        values = np.array([getattr(s, name) for s in warm], float) / (1 if counted else 1e6)
        growth, digits = _growth(seconds, values), 1 if counted else 2
        text = (
            f"{name}: {values.min():.{digits}f} to {values.max():.{digits}f}{'' if counted else ' MB'},"
            f" {growth:+.{digits}f} over {(seconds[-1] - seconds[0]) / 60:.1f} minutes"
        )
        lines.append(text)
        if growth > max(allowed * values[0], 1.0 if counted else 0.0):
            uneven.append(f"not flat: {text}")
    return lines, uneven


def table(samples: Sequence[Sample], rows: int = 12) -> str:
    """Some samples, evenly spaced, as GitHub's Markdown."""
    chosen = [samples[k] for k in np.unique(np.linspace(0, len(samples) - 1, rows).astype(int))]
    lines = ["| minutes | done | memory MB | files | threads | disk MB |", "| --: " * 6 + "|"]
    lines += [
        f"| {s.seconds / 60:.1f} | {s.done} | {s.memory / 1e6:.1f} | {s.files} | {s.threads} |"
        f" {s.disk / 1e6:.2f} |"
        for s in chosen
    ]
    return "\n".join(lines)


def report(samples: Sequence[Sample], *, allowed: float = ALLOWED) -> int:
    """Prints all of it; the exit code, 1 where something is not flat."""
    lines, uneven = judged(samples, allowed=allowed)
    if samples:
        print(table(samples), *lines, sep="\n")
    print(*uneven or ["flat"], sep="\n", flush=True)
    return 1 if uneven else 0
