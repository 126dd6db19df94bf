"""State of a pipeline in its workdir: pipeline.json, and the lock against a second pipeline."""

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

# Seconds to wait for the processes of a pipeline that was just killed: folds save before they end.
_PATIENCE = 30.0


@dataclasses.dataclass
class Status:
    """Status of a job.

    Attributes:
      state: waiting, running, done or failed.
      attempts: number of times this pipeline started it.
      exit_code: exit code of the last attempt; above 128, killed by signal exit_code - 128.
      error: error message, one or a few lines.
      seconds: duration of the last attempt.
      log: file of its output, relative to the workdir.
      node: machine of the last attempt; None for this one.
    """

    state: str = WAITING
    attempts: int = 0
    exit_code: int | None = None
    error: str | None = None
    seconds: float | None = None
    log: str | None = None
    node: str | None = None

    @property
    def reason(self) -> str:
        """First line of the error."""
        return (self.error or self.state).splitlines()[0]


class Record:
    """pipeline.json, rewritten atomically at each change, so that it is valid after any kill.

    A full disk does not end the pipeline: the first failure to write is reported, and each change tries
    again.

    Args:
      workdir: its folder.
      command: the user's command line.
      say: function that shows a line to the user.
    """

    def __init__(self, workdir: Path, command: list[str], say: Callable[[str], None]):
        self._path, self._say, self._reported = workdir / STATE, say, False
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
        """Status of a job in an earlier pipeline; {} if unknown."""
        return self._earlier.get(key, {})

    def run(self, name: str) -> dict[str, Any]:
        """Notes on a run, those of earlier pipelines included."""
        return self._content["runs"].setdefault(name, {})

    def set_run(self, name: str, **fields: Any) -> None:
        """Adds notes on a run."""
        self.run(name).update(fields)
        self.save()

    def set_job(self, key: str, status: Status) -> None:
        """Records the status of a job."""
        self._content["jobs"][key] = dataclasses.asdict(status)
        self.save()

    def finish(self) -> None:
        """Marks the pipeline as finished."""
        self._content["finished"] = True
        self.save()

    def save(self) -> None:
        """Writes the file."""
        with self.tolerant():
            files.write_json(self._path, self._content)

    @contextlib.contextmanager
    def tolerant(self) -> Iterator[None]:
        """Reports OSErrors of the block, the first only, instead of raising them."""
        try:
            yield
        except OSError as error:
            if not self._reported:
                self._say(f"{self._path.parent}: cannot be written: {error.strerror}; going on")
            self._reported = True


@contextlib.contextmanager
def locked(workdir: Path) -> Iterator[int]:
    """Locks a workdir for one pipeline; yields the lock's file descriptor.

    Jobs inherit the descriptor, so the lock is free only when the last of them has ended: a new pipeline
    waits for the jobs of a killed one.

    Raises:
      InputError: another pipeline uses the workdir, or it cannot be written or locked.
    """
    refusal = (
        f"--workdir={workdir}: in use by another pipeline ({{holder}}); wait for it, end it, or choose"
        " another workdir"
    )
    with contextlib.ExitStack() as stack:
        try:
            workdir.mkdir(parents=True, exist_ok=True)
            found = stack.enter_context(held(workdir / LOCK, refusal, patience=_PATIENCE))
        except OSError as error:
            raise InputError(f"--workdir={workdir}: cannot be written: {error.strerror}") from error
        if found.lockless:
            raise InputError(
                f"--workdir={workdir}: its disk does not support locks, which keep a second pipeline"
                " out; choose another disk"
            )
        yield found.descriptor
