"""Samples a process's memory, open files and threads, and a folder's size, and tells leaks from noise."""

import contextlib
import dataclasses
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

# Share of a run at its start in which caches and pools fill.
WARM_UP = 0.2
# Share by which memory and disk may grow after it: allocators and garbage are never quite still.
ALLOWED = 0.05


@dataclasses.dataclass(frozen=True)
class Sample:
    """A sample of this process.

    Attributes:
      seconds: time since the start of the watch.
      done: units of work finished.
      memory: resident bytes.
      files: open file descriptors.
      threads: number of threads.
      disk: bytes of all files below the folder.
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
            with contextlib.suppress(FileNotFoundError):  # rotated meanwhile
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
    """Samples this process every `every` seconds, in a thread."""
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
    """Rise of the fitted straight line from the first value to the last."""
    slope, _ = np.polyfit(seconds, values, 1)
    return float(slope * (seconds[-1] - seconds[0]))


def judged(samples: Sequence[Sample], *, allowed: float = ALLOWED) -> tuple[list[str], list[str]]:
    """Lines of measurements after the warm-up, and those that are not flat.

    Each value may rise by the share `allowed`, and a count by one. Rises are those of a fitted line, since a
    single peak is no leak.
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
    """Evenly spaced samples as GitHub's Markdown."""
    chosen = [samples[k] for k in np.unique(np.linspace(0, len(samples) - 1, rows).astype(int))]
    lines = ["| minutes | done | memory MB | files | threads | disk MB |", "| --: " * 6 + "|"]
    lines += [
        f"| {s.seconds / 60:.1f} | {s.done} | {s.memory / 1e6:.1f} | {s.files} | {s.threads} |"
        f" {s.disk / 1e6:.2f} |"
        for s in chosen
    ]
    return "\n".join(lines)


def report(samples: Sequence[Sample], *, allowed: float = ALLOWED) -> int:
    """Prints the findings; returns exit code 1 if something is not flat."""
    lines, uneven = judged(samples, allowed=allowed)
    if samples:
        print(table(samples), *lines, sep="\n")
    print(*uneven or ["flat"], sep="\n", flush=True)
    return 1 if uneven else 0
