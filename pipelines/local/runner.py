"""Runs commands, N at a time: retries, dependencies, logs; and nothing that runs on afterwards."""

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

# A command's word for "what you gave cannot be used": the same again would end the same.
_BAD_INPUT = 2
# And for "told to stop by SIGTERM, and saved": the same again goes on; it was no failure.
_PREEMPTED = 128 + signal.SIGTERM
_TICK = 0.2  # seconds between two looks at the processes
_LAST_WORDS = 1500  # characters of an error that are kept
# Bytes of its output that are looked through for it: libraries' threads may print after a command's own
# last line, by the page where a disk is full.
_TAIL = 1 << 16


@dataclasses.dataclass(frozen=True)
class Job:
    """One command.

    Attributes:
      key: names it, such as "levi fold 3".
      command: its words.
      log: what it prints goes here.
      done: the file whose presence means that it is done; None where it is to run in any case.
      failure: where its failure is noted, until it succeeds.
      needs: keys of jobs that must be done before.
      run: the run it belongs to.
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
    """Who is told how it goes."""

    def changed(self, job: Job, status: Status) -> None:
        """A job has started, ended or failed."""

    def tick(self, jobs: Sequence[Job], statuses: Mapping[str, Status]) -> None:
        """A fraction of a second has passed."""


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
      workdir: logs are named relative to it.
      at_once: how many jobs may run at the same time.
      retries: how often a failed job is started again.
      record: takes every change.
      view: is told of it.
      environment: of the commands.
      lock: descriptor that commands inherit.
      per_slot: further environment of each of the `at_once` places, such as its own GPU.
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
        """Runs those that are not done, and returns how each ended; a failure stops no other.

        However this is left, none of its processes lives on.
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
        """Starts what may start, in the jobs' order."""
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
        """Takes what a job has printed; False at its end."""
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
            with self.record.tolerant():  # read on where the disk is full: its last line is wanted
                entry.log.write(text)
        return True

    def _drain(self, entry: _Running, output: selectors.BaseSelector) -> None:
        """Reads the rest, and closes."""
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
            status.state, status.error = WAITING, "told to stop; to be continued"
            status.attempts -= 1
        elif code == 0 and (job.done is None or job.done.exists()):
            status.state, status.error = DONE, None
        else:
            status.error = _error(code, entry.tail, job.command)
            again = code != _BAD_INPUT and status.attempts <= self.retries
            status.state = WAITING if again else FAILED
        self._note(job, status)

    def _note(self, job: Job, status: Status) -> None:
        """Tells everybody of a change."""
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
        """Ends what still runs: an interrupt, or an error of our own. A fold saves before it ends."""
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
    """What is told of a failure: how it was killed, or what the command said of it.

    ageflax's commands end with "NAME: what is wrong", and may go on with how to mend it; of others the
    last line is taken.
    """
    lines = [line.rstrip() for line in tail.decode(errors="replace").splitlines()]
    lines = [line for line in lines if line]
    last = lines[-1].strip()[:_LAST_WORDS] if lines else ""
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
                return "\n".join(lines[number:]).removeprefix(prefix)[:_LAST_WORDS]
    return last or f"exit code {code}, without a word"


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM and SIGHUP end the block as Ctrl-C does, so that its `finally`s are run."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = {n: signal.signal(n, interrupt) for n in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
