"""Commands on this machine, each under a leash."""

import dataclasses
import os
import select
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipelines.local import leash
from pipelines.local.runner import Job


def environment(workdir: Path) -> dict[str, str]:
    """Environment of jobs: libraries' caches are in the workdir instead of the home directory.

    The cache of compiled programs is among them, so that the five folds of a config compile once.
    """
    cache = workdir.absolute() / ".cache"
    kept = {
        "MPLCONFIGDIR": str(cache / "matplotlib"),
        "JAX_COMPILATION_CACHE_DIR": str(cache / "jax"),
        "PYTHONUNBUFFERED": "1",
    }
    return {**kept, **os.environ}


class Process:
    """A command, started at once; see `pipelines.local.runner.Process`.

    Args:
      command: program and arguments.
      environment: its environment.
      lock: file descriptor that it inherits.
      folder: its working directory; None for this process's.
    """

    node, reason = None, None

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        lock: int | None,
        folder: str | None = None,
    ):
        self._started = subprocess.Popen(
            [sys.executable, "-I", "-S", leash.__file__, str(os.getpid()), "--", *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=folder,
            pass_fds=() if lock is None else (lock,),
            start_new_session=True,
        )
        self.pid = self._started.pid
        self.output = self._started.stdout  # None from its end on
        assert self.output is not None
        os.set_blocking(self.output.fileno(), False)

    def begun(self) -> bool:
        """True: nothing is waited for."""
        return True

    def read(self) -> bytes:
        """Output since the last call, 64 KiB at most; b"" if there is none for now."""
        if self.output is None:
            return b""
        try:
            text = os.read(self.output.fileno(), 1 << 16)
        except BlockingIOError:
            return b""
        if not text:
            self._close()
        return text

    def poll(self) -> int | None:
        """Exit code, negative for the signal that killed the leash; None while it runs."""
        return self._started.poll()

    def stop(self) -> None:
        """Asks the command to save and end."""
        self._started.terminate()

    def end(self, seconds: float) -> None:
        """Waits for the end, after `seconds` by force."""
        try:
            self._started.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            self._started.kill()
            self._started.wait()
        self._close()

    def _close(self) -> None:
        if self.output is not None:
            self.output.close()
            self.output = None


@dataclasses.dataclass
class Here:
    """This machine as the place of jobs; see `pipelines.local.runner.Place`.

    Attributes:
      environment: environment of the commands.
      lock: file descriptor that commands inherit.
      per_slot: additional environment of each slot, such as its own GPU.
    """

    environment: Mapping[str, str] = dataclasses.field(default_factory=lambda: dict(os.environ))
    lock: int | None = None
    per_slot: Sequence[Mapping[str, str]] = ()

    def start(self, job: Job, slot: int) -> Process:
        """Starts a job."""
        extra = self.per_slot[slot] if self.per_slot else {}
        return Process(job.command, {**self.environment, **extra}, self.lock)

    def wait(self, processes: Sequence[Process], seconds: float) -> None:
        """Waits until one of them writes or ends its output, or for `seconds`."""
        open_ = [process.output for process in processes if process.output is not None]
        select.select(open_, [], [], seconds)

    def clear(self, remaining: Sequence[Process]) -> None:
        """Kills processes whose leash was killed."""
        leash.end_orphans({process.pid for process in remaining})
