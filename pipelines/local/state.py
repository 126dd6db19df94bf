"""What a pipeline knows of itself, in its workdir: pipeline.json, and the lock that keeps it alone."""

import contextlib
import dataclasses
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ageflax.errors import InputError
from ageflax.runtime import files
from ageflax.runtime.lock import held

STATE, LOCK = "pipeline.json", ".pipeline.lock"
WAITING, RUNNING, DONE, FAILED = "waiting", "running", "done", "failed"

# How long the processes of a pipeline that was just killed may take to be gone: folds save first.
_PATIENCE = 30.0


@dataclasses.dataclass
class Status:
    """Where one job stands.

    Attributes:
      state: waiting, running, done or failed.
      attempts: how often it was started by this pipeline.
      exit_code: of the last attempt; above 128 it was killed by signal exit_code - 128.
      error: what it said, where it failed; a line, or a few.
      seconds: of the last attempt.
      log: everything it printed, relative to the workdir.
    """

    state: str = WAITING
    attempts: int = 0
    exit_code: int | None = None
    error: str | None = None
    seconds: float | None = None
    log: str | None = None

    @property
    def reason(self) -> str:
        """The first line of the error."""
        return (self.error or self.state).splitlines()[0]


class Record:
    """pipeline.json, written at each change: whole or not at all, so that any kill leaves a good one.

    A disk that is full must not end the pipeline: what cannot be written is said once, and tried again
    at the next change.

    Args:
      workdir: where it lies.
      command: the words of the command.
      say: takes lines for the user.
    """

    def __init__(self, workdir: Path, command: list[str], say: Callable[[str], None]):
        self._path, self._say, self._told = workdir / STATE, say, False
        before = files.read_json_or(self._path, {})
        self._earlier = before.get("jobs", {})
        self._content: dict[str, Any] = {
            "command": command,
            "process": os.getpid(),
            "host": socket.gethostname(),
            "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "finished": False,
            "runs": before.get("runs", {}),
            "jobs": {},
        }

    def earlier(self, key: str) -> dict[str, Any]:
        """What an earlier pipeline left of a job; {} where it knew none."""
        return self._earlier.get(key, {})

    def run(self, name: str) -> dict[str, Any]:
        """What is kept of a run, earlier pipelines included."""
        return self._content["runs"].setdefault(name, {})

    def set_run(self, name: str, **fields: Any) -> None:
        """Notes something of a run."""
        self.run(name).update(fields)
        self.save()

    def set_job(self, key: str, status: Status) -> None:
        """Notes where a job stands."""
        self._content["jobs"][key] = dataclasses.asdict(status)
        self.save()

    def finish(self) -> None:
        """Nothing is left to be done."""
        self._content["finished"] = True
        self.save()

    def save(self) -> None:
        """Writes the file."""
        with self.tolerant():
            files.write_json(self._path, self._content)

    @contextlib.contextmanager
    def tolerant(self) -> Iterator[None]:
        """Around writing what is not worth the pipeline's life."""
        try:
            yield
        except OSError as error:
            if not self._told:
                self._say(f"cannot write into {self._path.parent}: {error.strerror}; going on")
            self._told = True


@contextlib.contextmanager
def locked(workdir: Path) -> Iterator[int]:
    """Keeps a workdir for one pipeline; gives the lock's file descriptor.

    Children inherit it, so the lock is free when the last of them is gone too: what a killed pipeline
    left dying is waited for, and could not be joined by a second one.

    Raises:
      InputError: another pipeline is at work, or the folder cannot be written.
    """
    refusal = (
        f"--workdir={workdir} is in use by another pipeline ({{holder}}); wait for it, end"
        " it, or choose another --workdir"
    )
    with contextlib.ExitStack() as stack:
        try:
            workdir.mkdir(parents=True, exist_ok=True)
            found = stack.enter_context(held(workdir / LOCK, refusal, patience=_PATIENCE))
        except OSError as error:
            raise InputError(f"--workdir={workdir}: cannot be written: {error.strerror}") from error
        if found.lockless:
            raise InputError(
                f"--workdir={workdir}: this disk knows no locks, which keep a second pipeline out;"
                " choose another"
            )
        yield found.descriptor
