"""Progress of the jobs: a table on a terminal, otherwise a line per change."""

import dataclasses
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from ageflax.runtime import files
from pipelines.local.runner import PREEMPTED, Job
from pipelines.local.state import DONE, FAILED, RUNNING, WAITING, Status
from pipelines.plan.runs import Run

_REFRESH = 0.5  # seconds
_BLOCK = 4096  # bytes read from the end of metrics.jsonl


@dataclasses.dataclass(frozen=True)
class Progress:
    """Progress of a fold.

    Attributes:
      step: step of the last log line.
      steps: total number of steps; estimated from the log if the config counts epochs.
      loss: mean since the previous log line.
      rate: images per second.
      left: estimated remaining seconds of training.
    """

    step: int
    steps: int
    loss: float
    rate: float
    left: float


def _last_record(path: Path) -> dict[str, Any] | None:
    """The last complete line of a metrics.jsonl that may be being written."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - _BLOCK))
            lines = file.read().splitlines(keepends=True)
    except OSError:
        return None
    for line in reversed(lines):
        if line.endswith(b"\n"):
            try:
                return json.loads(line)
            except ValueError:
                continue
    return None


def progress(run: Run, directory: Path) -> Progress | None:
    """Progress of the fold in a directory; None before its first log line."""
    record = _last_record(directory / "metrics.jsonl")
    if record is None or not record.get("step"):
        return None
    config, step = run.config, record["step"]
    steps = config.steps
    if config.epochs:
        steps = max(step, round(step * config.epochs / record["epoch"]))
    rate = record["images_per_second"]
    left = (steps - step) * config.data.batch_size / max(rate, 1e-9)
    return Progress(step, steps, record["loss"], rate, left)


def duration(seconds: float) -> str:
    """A duration as text, such as 48 s, 3 min 05 s, 2 h 10 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def _figures(job: Job) -> str:
    """Main figures of a finished fold."""
    result = files.read_json_or(job.done, None) if job.fold is not None and job.done else None
    if result is None:
        return ""
    parts = []
    for task, figures in result["tasks"].items():
        if figures.get("exact") is not None:
            parts.append(f"{task} {100 * figures['exact']:.1f} %")
        if figures.get("years"):
            parts.append(f"MAE {figures['years']['mae']:.2f} years")
    return ", ".join(parts)


def line(job: Job, status: Status, retries: int) -> str:
    """A line for a job's new status."""
    if status.state == RUNNING:
        where = f" on {status.node}" if status.node else ""
        return f"{job.key}: started{where}" + f", attempt {status.attempts}" * (status.attempts > 1)
    if status.state == DONE:
        figures = _figures(job)
        took = "" if status.seconds is None else f" in {duration(status.seconds)}"
        return f"{job.key}: done{took}" + (f"; {figures}" if figures else "")
    if status.state == FAILED:
        where = f" (log: {status.log})" if status.log else ""
        return f"{job.key}: failed: {status.error}{where}"
    if status.exit_code == PREEMPTED:
        return f"{job.key}: {status.error}"
    return f"{job.key}: attempt {status.attempts} of {retries + 1} failed: {status.error}"


class Lines:
    """Prints a line on standard error at each change.

    Args:
      retries: maximum number of restarts of a job.
    """

    def __init__(self, retries: int):
        self._retries = retries

    def changed(self, job: Job, status: Status) -> None:
        """Prints the change."""
        print(line(job, status, self._retries), file=sys.stderr, flush=True)

    def tick(self, jobs: Sequence[Job], statuses: Mapping[str, Status]) -> None:
        """Does nothing."""

    def say(self, text: str) -> None:
        """Prints a line."""
        print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Does nothing."""


class LiveTable:
    """Shows a table of running jobs at the bottom of a terminal, below the lines of `Lines`.

    Args:
      retries: maximum number of restarts of a job.
      runs: runs by name, for the number of steps.
      console: console of the terminal.
    """

    def __init__(self, retries: int, runs: Mapping[str, Run], console: Console):
        self._retries, self._runs, self._console = retries, runs, console
        self._live: Live | None = None
        self._drawn = 0.0

    def changed(self, job: Job, status: Status) -> None:
        """Prints the change above the table, and updates the table."""
        self.say(line(job, status, self._retries))
        self._drawn = 0.0

    def say(self, text: str) -> None:
        """Prints a line above the table."""
        self._console.print(text, markup=False, highlight=False)

    def tick(self, jobs: Sequence[Job], statuses: Mapping[str, Status]) -> None:
        """Draws the table, at most twice a second."""
        if time.monotonic() - self._drawn < _REFRESH:
            return
        self._drawn = time.monotonic()
        if self._live is None:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        self._live.update(self.table(jobs, statuses), refresh=True)

    def table(self, jobs: Sequence[Job], statuses: Mapping[str, Status]) -> Table:
        """Running jobs with their progress, below counts of the others."""
        states = [statuses[job.key].state for job in jobs]
        counts = {state: states.count(state) for state in (DONE, FAILED, WAITING)}
        title = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
        table = Table(title=title or None, title_justify="left", title_style="bold")
        for name in ("runs", "step", "loss", "images/s", "left"):
            table.add_column(name, justify="left" if name == "runs" else "right")
        for job in jobs:
            if statuses[job.key].state == RUNNING:
                table.add_row(job.key, *self._cells(job))
        return table

    def _cells(self, job: Job) -> tuple[str, ...]:
        run = self._runs.get(job.run)
        if run is None or job.fold is None or job.done is None:
            return ("", "", "", "")
        found = progress(run, job.done.parent)
        if found is None:
            return ("starting", "", "", "")
        about = "~" if run.config.epochs else ""
        return (
            f"{found.step}/{about}{found.steps}",
            f"{found.loss:.3f}",
            f"{found.rate:.0f}",
            duration(found.left) if found.step < found.steps else "testing",
        )

    def close(self) -> None:
        """Removes the table."""
        if self._live is not None:
            self._live.stop()
            self._live = None


def make(retries: int, runs: Mapping[str, Run]) -> "Lines | LiveTable":
    """A table if standard error is a terminal, otherwise lines."""
    console = Console(stderr=True)
    return LiveTable(retries, runs, console) if console.is_terminal else Lines(retries)
