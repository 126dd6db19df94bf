"""File locks that reserve a fold or a pipeline for one process."""

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
from ageflax.runtime import files

# Seconds that the processes of a run that was just killed may take to disappear.
_PATIENCE = 5.0
# Errors of disks without locks, such as some network mounts.
_UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@contextlib.contextmanager
def locked(directory: Path, *, say: Callable[[str], None]) -> Iterator[None]:
    """Locks a fold's folder for the duration of the block; any end of the process frees it.

    Args:
      directory: folder to lock, made if absent; its file `.lock` names the holder.
      say: function that prints a line, called if the disk does not support locks.

    Raises:
      InputError: another process holds the lock.
    """
    directory.mkdir(parents=True, exist_ok=True)
    refusal = (
        f"{directory} is being trained by another process ({{holder}}); wait for it, end it,"
        " or choose another --workdir"
    )
    with held(directory / ".lock", refusal, patience=_PATIENCE) as found:
        if found.lockless:
            say(f"{directory}: this disk does not support locks; start no second process on it")
        yield


@dataclasses.dataclass(frozen=True)
class Held:
    """A lock in force.

    Attributes:
      descriptor: open lock file; the lock is free once the last process that has it open is gone.
      lockless: True if the disk does not support locks, and nothing is locked.
    """

    descriptor: int
    lockless: bool


@contextlib.contextmanager
def held(path: Path, refusal: str, *, patience: float) -> Iterator[Held]:
    """Holds a lock file for the duration of the block; the file names its holder.

    Args:
      path: lock file, made if absent.
      refusal: error message if another process holds it, containing {holder}.
      patience: seconds to wait for it.

    Raises:
      InputError: another process holds the lock.
      OSError: the file cannot be opened.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        taken = _take(descriptor, refusal, patience)
        if taken:
            os.ftruncate(descriptor, 0)
            holder = f"process {os.getpid()} on {socket.gethostname()}\n"
            with files.naming(path):
                os.pwrite(descriptor, holder.encode(), 0)
        yield Held(descriptor, lockless=not taken)
    finally:
        os.close(descriptor)


def _take(descriptor: int, refusal: str, patience: float) -> bool:
    """Waits for the lock; False if the disk does not support locks."""
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
            if error.errno not in _UNSUPPORTED:
                raise
            return False
