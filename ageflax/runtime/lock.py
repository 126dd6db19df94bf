"""Keeps a file's lock, and with it a fold or a pipeline, for one process."""

import contextlib
import dataclasses
import errno
import fcntl
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ageflax.errors import InputError

# How long the processes of a run that was just killed may take to be gone.
_PATIENCE = 5.0
# Disks that know no locks, as some that are mounted over a network.
_NONE = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@contextlib.contextmanager
def locked(directory: Path, *, say: Callable[[str], None]) -> Iterator[None]:
    """Keeps a fold's folder; whatever ends the process, kill -9 too, frees it.

    Args:
      directory: made if absent; the lock is its file `.lock`, which names who holds it.
      say: is told where the disk knows no locks.

    Raises:
      InputError: another process holds it.
    """
    directory.mkdir(parents=True, exist_ok=True)
    refusal = (
        f"{directory} is being trained by another process ({{holder}}); wait for it, end it,"
        " or choose another --workdir"
    )
    with held(directory / ".lock", refusal, patience=_PATIENCE) as found:
        if found.lockless:
            say(f"{directory}: this disk knows no locks; start no second process on it")
        yield


@dataclasses.dataclass(frozen=True)
class Held:
    """A lock that is held.

    Attributes:
      descriptor: of its file; the lock is free when the last process that has it open is gone.
      lockless: the disk knows no locks, and nothing is held.
    """

    descriptor: int
    lockless: bool


@contextlib.contextmanager
def held(path: Path, refusal: str, *, patience: float) -> Iterator[Held]:
    """Keeps a lock file, which names who holds it.

    Args:
      path: made if absent.
      refusal: what is said where another has it, with {holder} in it.
      patience: seconds that it is waited for.

    Raises:
      InputError: another process holds it.
      OSError: it cannot be opened.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        taken = _take(descriptor, refusal, patience)
        if taken:
            os.ftruncate(descriptor, 0)
            holder = f"process {os.getpid()} on {socket.gethostname()}\n"
            os.pwrite(descriptor, holder.encode(), 0)
        yield Held(descriptor, lockless=not taken)
    finally:
        os.close(descriptor)


def _take(descriptor: int, refusal: str, patience: float) -> bool:
    """Waits for the lock; False where the disk knows none."""
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > deadline:
                holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip()
                raise InputError(refusal.replace("{holder}", holder)) from None
            time.sleep(0.05)
        except OSError as error:
            if error.errno not in _NONE:
                raise
            return False
