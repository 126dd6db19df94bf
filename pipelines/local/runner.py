"""Runs commands, N at a time, with retries, dependencies and logs; no process outlives the runner.

Where they run is a `Place`: this machine (`pipelines.local.process`) or the nodes of a cluster.
"""

import contextlib
import dataclasses
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Protocol

from ageflax.runtime import files
from pipelines.local.state import DONE, FAILED, RUNNING, WAITING, Record, Status

_BAD_INPUT = 2  # exit code of a command that would fail again
PREEMPTED = 128 + signal.SIGTERM  # exit code after SIGTERM: saved, to be resumed, not a failure
_TICK = 0.2  # seconds between polls of the processes
_PATIENCE = 29  # seconds for stopped jobs to save; the leash takes 27
_LONGEST = 1500  # characters of an error that are kept
# Bytes of output that are searched for the error: threads of libraries may print pages after it, such as
# on a full disk.
TAIL = 1 << 16


@dataclasses.dataclass(frozen=True)
class Job:
    """A command to run.

    Attributes:
      key: unique name, such as "levi fold 3".
      command: program and arguments.
      log: file for its output.
      done: file whose presence means that the job is done; None to run it in any case.
      failure: JSON file with the error of a failed job, removed on success.
      needs: keys of jobs that must be done before.
      run: name of the run it belongs to.
      fold: the fold it trains, if any.
      reads: folders that it reads, outside of the workdir perhaps.
    """

    key: str
    command: tuple[str, ...]
    log: Path
    done: Path | None = None
    failure: Path | None = None
    needs: tuple[str, ...] = ()
    run: str = ""
    fold: int | None = None
    reads: tuple[Path, ...] = ()


class View(Protocol):
    """Display of the jobs' progress."""

    def changed(self, job: Job, status: Status) -> None:
        """Called when a job has started, ended or failed."""

    def tick(self, jobs: Sequence[Job], statuses: Mapping[str, Status]) -> None:
        """Called a few times a second."""


class Process(Protocol):
    """A job that was started, or is waiting for a node.

    Attributes:
      node: machine it runs on; None for this one.
      reason: error that its output does not tell.
    """

    node: str | None
    reason: str | None

    def begun(self) -> bool:
        """True once it runs."""
        ...

    def read(self) -> bytes:
        """Output since the last call; b"" if there is none for now."""
        ...

    def poll(self) -> int | None:
        """Exit code, -N if signal N killed it; None while it waits or runs."""
        ...

    def stop(self) -> None:
        """Asks it to save and end."""

    def end(self, seconds: float) -> None:
        """Waits for its end, after `seconds` by force."""


class Place(Protocol):
    """Machines that jobs run on."""

    def start(self, job: Job, slot: int) -> Any:
        """Starts a job, a `Process`; slots count the concurrent jobs."""

    def wait(self, processes: Sequence[Any], seconds: float) -> None:
        """Waits until there is something new of a process, `seconds` at most."""

    def clear(self, remaining: Sequence[Any]) -> None:
        """Ends what killed jobs left behind; the remaining processes go on."""


@dataclasses.dataclass
class _Running:
    job: Job
    process: Process
    log: IO[bytes] | None
    slot: int
    began: float | None = None
    tail: bytes = b""


@dataclasses.dataclass
class Runner:
    """Runs jobs; see `run`.

    Attributes:
      workdir: folder that log names are relative to.
      at_once: maximum number of concurrent jobs.
      retries: maximum number of restarts of a failed job.
      record: record of every change.
      view: display of every change.
      place: machines that jobs run on.
    """

    workdir: Path
    at_once: int
    retries: int
    record: Record
    view: View
    place: Place

    def run(self, jobs: Sequence[Job]) -> dict[str, Status]:
        """Runs the jobs that are not done; a failure does not stop the others.

        However this returns or raises, all its processes have ended.

        Returns:
          Each job's status by key.
        """
        statuses = {job.key: self._status_before(job) for job in jobs}
        for job in jobs:
            self.record.set_job(job.key, statuses[job.key])
        running: dict[str, _Running] = {}
        try:
            while running or any(s.state == WAITING for s in statuses.values()):
                self._start_ready(jobs, statuses, running)
                if running:
                    self.place.wait([entry.process for entry in running.values()], _TICK)
                for key, entry in list(running.items()):
                    if self._followed(entry, statuses[key]):
                        continue
                    del running[key]
                    if (entry.process.poll() or 0) < 0:
                        self.place.clear([e.process for e in running.values()])
                    self._ended(entry, statuses[key])
                self.view.tick(jobs, statuses)
        finally:
            self._stop(running, statuses)
        return statuses

    def _status_before(self, job: Job) -> Status:
        if not _there(job.done):
            return Status()
        known = self.record.earlier(job.key)
        if known.get("state") == DONE:
            return Status(**known)
        return Status(state=DONE)

    def _start_ready(
        self, jobs: Sequence[Job], statuses: dict[str, Status], running: dict[str, _Running]
    ) -> None:
        """Starts the jobs that can start, in order."""
        for job in jobs:
            status = statuses[job.key]
            if status.state != WAITING or job.key in running:
                continue
            states = {need: statuses[need].state for need in job.needs}
            missing = [need for need, state in states.items() if state == FAILED]
            if missing:
                status.state, status.error = FAILED, f"needs {missing[0]}, which failed"
                self._note(job, status)
            elif len(running) < self.at_once and all(s == DONE for s in states.values()):
                slots = {entry.slot for entry in running.values()}
                slot = min(set(range(len(slots) + 1)) - slots)
                running[job.key] = self._start(job, status, slot)

    def _start(self, job: Job, status: Status, slot: int) -> _Running:
        log = None
        with self.record.tolerant():
            job.log.parent.mkdir(parents=True, exist_ok=True)
            log = job.log.open("wb" if status.exit_code is None else "ab", buffering=0)
        entry = _Running(job, self.place.start(job, slot), log, slot)
        self._begin(entry, status)
        return entry

    def _begin(self, entry: _Running, status: Status) -> None:
        """Notes the beginning of a job, once it has begun."""
        if entry.began is None and entry.process.begun():
            entry.began = time.monotonic()
            status.state, status.attempts, status.error = RUNNING, status.attempts + 1, None
            status.node = entry.process.node
            status.log = os.path.relpath(entry.job.log, self.workdir)
            self._note(entry.job, status)

    def _followed(self, entry: _Running, status: Status) -> bool:
        """Reads a job's output; False if the job has ended and all is read."""
        ended = entry.process.poll() is not None
        self._begin(entry, status)
        while text := entry.process.read():
            entry.tail = (entry.tail + text)[-TAIL:]
            if entry.log is not None:
                with self.record.tolerant():  # on a full disk too, its last line is needed
                    entry.log.write(text)
            if not ended:  # what writes without end does not keep the others waiting
                break
        return not ended

    def _ended(self, entry: _Running, status: Status) -> None:
        job, code = entry.job, entry.process.poll()
        self._close(entry, 0)
        assert code is not None
        code = 128 - code if code < 0 else code
        status.exit_code = code
        status.seconds = round(time.monotonic() - (entry.began or time.monotonic()), 1)
        if code == PREEMPTED:
            status.state, status.error = WAITING, entry.process.reason or "preempted, to be resumed"
            status.attempts -= entry.began is not None
        elif code == 0 and (job.done is None or _there(job.done)):
            status.state, status.error = DONE, None
        else:
            status.attempts += entry.began is None
            status.error = entry.process.reason or error_of(code, entry.tail, job.command)
            again = code != _BAD_INPUT and status.attempts <= self.retries
            status.state = WAITING if again else FAILED
        self._note(job, status)

    def _note(self, job: Job, status: Status) -> None:
        """Records and shows a change."""
        if job.failure is not None:
            with self.record.tolerant():
                if status.state == FAILED:
                    job.failure.parent.mkdir(parents=True, exist_ok=True)
                    files.write_json(job.failure, {"error": status.reason})
                elif status.state == DONE:
                    job.failure.unlink(missing_ok=True)
        self.record.set_job(job.key, status)
        self.view.changed(job, status)

    def _stop(self, running: dict[str, _Running], statuses: dict[str, Status]) -> None:
        """Ends the running jobs after an interrupt or an error; a fold saves before it ends."""
        for entry in running.values():
            entry.process.stop()
        deadline = time.monotonic() + _PATIENCE
        for key, entry in running.items():
            self._close(entry, max(0.0, deadline - time.monotonic()))
            statuses[key].state = WAITING
            self.record.set_job(key, statuses[key])
        self.place.clear([])

    def _close(self, entry: _Running, seconds: float) -> None:
        entry.process.end(seconds)
        if entry.log is not None:
            entry.log.close()


def _there(path: Path | None) -> bool:
    """True if a file exists, perhaps made by another machine a moment ago.

    A network file system may remember that it was absent; opening its folder makes it look anew.
    """
    if path is None:
        return False
    for folder in (path.parent.parent, path.parent):
        with contextlib.suppress(OSError):
            os.close(os.open(folder, os.O_RDONLY))
    return path.exists()


def error_of(code: int, tail: bytes, command: Sequence[str]) -> str:
    """A failed job's error: the signal that killed it, or the command's own message.

    ageflax's commands end with "NAME: what is wrong", and perhaps lines on what to do. For others it is
    the last line.
    """
    lines = [line.rstrip() for line in tail.decode(errors="replace").splitlines()]
    lines = [line for line in lines if line]
    last = lines[-1].strip()[:_LONGEST] if lines else ""
    if code > 128:
        try:
            name = signal.Signals(code - 128).name
        except ValueError:
            name = f"signal {code - 128}"
        hint = " (out of memory?)" if name == "SIGKILL" else ""
        return f"killed by {name}{hint}" + (f"; its last line: {last}" if last else "")
    if "-m" in command:
        prefix = f"{command[command.index('-m') + 1]}: "
        for number in reversed(range(len(lines))):
            if lines[number].startswith(prefix):
                return "\n".join(lines[number:]).removeprefix(prefix)[:_LONGEST]
    return last or f"exit code {code}, no output"


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Raises KeyboardInterrupt on SIGTERM and SIGHUP too, so that `finally` blocks run."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = {n: signal.signal(n, interrupt) for n in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
