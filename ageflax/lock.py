"""Keeps a fold for one process."""

import contextlib
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
    """Keeps a folder; whatever ends the process, kill -9 too, frees it.

    Args:
      directory: made if absent; the lock is its file `.lock`, which names who holds it.
      say: is told where the disk knows no locks.

    Raises:
      InputError: another process holds it.
    """
    directory.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(directory / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _take(descriptor, directory, say)
        yield
    finally:
        os.close(descriptor)


def _take(descriptor: int, directory: Path, say: Callable[[str], None]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > deadline:
                holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip()
                raise InputError(
                    f"{directory} is being trained by another process ({holder}); wait for it, end it,"
                    " or choose another --workdir"
                ) from None
            time.sleep(0.05)
        except OSError as error:
            if error.errno not in _NONE:
                raise
            say(f"{directory}: this disk knows no locks; start no second process on it")
            return
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
