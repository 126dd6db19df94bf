"""Runs commands, N at a time, with retries, dependencies and logs; no process outlives the runner."""

import contextlib
import dataclasses
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Protocol

from ageflax.runtime import files
from pipelines.local import leash
from pipelines.local.state import DONE, FAILED, RUNNING, WAITING, Record, Status

_BAD_INPUT = 2  # exit code of a command that would fail again
_PREEMPTED = 128 + signal.SIGTERM  # exit code after SIGTERM: saved, to be resumed, not a failure
_TICK = 0.2  # seconds between polls of the processes
_LONGEST = 1500  # characters of an error that are kept
# Bytes of output that are searched for the error: threads of libraries may print pages after it, such as
# on a full disk.
_TAIL = 1 << 16


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
    """

    key: str
    command: tuple[str, ...]
    log: Path
    done: Path | None = None
    failure: Path | None = None
    needs: tuple[str, ...] = ()
    run: str = ""
    fold: int | None = None


class View(Protocol):
    """Display of the jobs' progress."""

    def changed(self, job: Job, status: Status) -> None:
        """Called when a job has started, ended or failed."""

    def tick(self, jobs: Sequence[Job], statuses: Mapping[str, Status]) -> None:
        """Called a few times a second."""


@dataclasses.dataclass
class _Running:
    job: Job
    process: subprocess.Popen[bytes]
    log: IO[bytes] | None
    started: float
    slot: int
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
      environment: environment of the commands.
      lock: file descriptor that commands inherit.
      per_slot: additional environment of each of the `at_once` slots, such as its own GPU.
    """

    workdir: Path
    at_once: int
    retries: int
    record: Record
    view: View
    environment: Mapping[str, str] = dataclasses.field(default_factory=lambda: dict(os.environ))
    lock: int | None = None
    per_slot: Sequence[Mapping[str, str]] = ()

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
        with selectors.DefaultSelector() as output:
            try:
                while running or any(s.state == WAITING for s in statuses.values()):
                    self._start_ready(jobs, statuses, running, output)
                    for ready, _ in output.select(_TICK if running else 0):
                        self._read(ready.data, output)
                    for key, entry in list(running.items()):
                        if entry.process.poll() is not None:
                            self._drain(entry, output)
                            del running[key]
                            if entry.process.returncode < 0:  # the leash itself was killed
                                leash.end_orphans({e.process.pid for e in running.values()})
                            self._ended(entry, statuses[key])
                    self.view.tick(jobs, statuses)
            finally:
                self._stop(running, statuses)
        return statuses

    def _status_before(self, job: Job) -> Status:
        if job.done is None or not job.done.exists():
            return Status()
        known = self.record.earlier(job.key)
        if known.get("state") == DONE:
            return Status(**known)
        return Status(state=DONE)

    def _start_ready(
        self,
        jobs: Sequence[Job],
        statuses: dict[str, Status],
        running: dict[str, _Running],
        output: selectors.BaseSelector,
    ) -> None:
        """Starts the jobs that can start, in order."""
        for job in jobs:
            status = statuses[job.key]
            if status.state != WAITING:
                continue
            states = {need: statuses[need].state for need in job.needs}
            missing = [need for need, state in states.items() if state == FAILED]
            if missing:
                status.state, status.error = FAILED, f"needs {missing[0]}, which failed"
                self._note(job, status)
            elif len(running) < self.at_once and all(s == DONE for s in states.values()):
                slots = {entry.slot for entry in running.values()}
                slot = min(set(range(self.at_once)) - slots)
                running[job.key] = self._start(job, status, slot, output)

    def _start(
        self, job: Job, status: Status, slot: int, output: selectors.BaseSelector
    ) -> _Running:
        extra = self.per_slot[slot] if self.per_slot else {}
        log = None
        with self.record.tolerant():
            job.log.parent.mkdir(parents=True, exist_ok=True)
            log = job.log.open("wb" if status.exit_code is None else "ab", buffering=0)
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", leash.__file__, str(os.getpid()), "--", *job.command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**self.environment, **extra},
            pass_fds=() if self.lock is None else (self.lock,),
            start_new_session=True,
        )
        entry = _Running(job, process, log, time.monotonic(), slot)
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        output.register(process.stdout, selectors.EVENT_READ, entry)
        status.state, status.attempts, status.error = RUNNING, status.attempts + 1, None
        status.log = os.path.relpath(job.log, self.workdir)
        self._note(job, status)
        return entry

    def _read(self, entry: _Running, output: selectors.BaseSelector) -> bool:
        """Reads a job's output; False if there is none left for now."""
        stream = entry.process.stdout
        assert stream is not None
        try:
            text = os.read(stream.fileno(), 1 << 16)
        except BlockingIOError:
            return False
        if not text:
            output.unregister(stream)
            return False
        entry.tail = (entry.tail + text)[-_TAIL:]
        if entry.log is not None:
            with self.record.tolerant():  # on a full disk too, its last line is needed
                entry.log.write(text)
        return True

    def _drain(self, entry: _Running, output: selectors.BaseSelector) -> None:
        """Reads the rest of a job's output and closes its files."""
        stream = entry.process.stdout
        assert stream is not None
        while stream in {key.fileobj for key in output.get_map().values()}:
            if not self._read(entry, output):
                break
        with contextlib.suppress(KeyError):
            output.unregister(stream)
        stream.close()
        if entry.log is not None:
            entry.log.close()

    def _ended(self, entry: _Running, status: Status) -> None:
        job, code = entry.job, entry.process.returncode
        code = 128 - code if code < 0 else code
        status.exit_code, status.seconds = code, round(time.monotonic() - entry.started, 1)
        if code == _PREEMPTED:
            status.state, status.error = WAITING, "preempted, to be resumed"
            status.attempts -= 1
        elif code == 0 and (job.done is None or job.done.exists()):
            status.state, status.error = DONE, None
        else:
            status.error = _error(code, entry.tail, job.command)
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
            entry.process.terminate()
        for key, entry in running.items():
            try:
                entry.process.wait(timeout=29)
            except subprocess.TimeoutExpired:
                entry.process.kill()
                entry.process.wait()
            if entry.process.stdout is not None:
                entry.process.stdout.close()
            if entry.log is not None:
                entry.log.close()
            statuses[key].state = WAITING
            self.record.set_job(key, statuses[key])
        leash.end_orphans(set())


def _error(code: int, tail: bytes, command: Sequence[str]) -> str:
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
