"""Runs a command that must not outlive its parent: python leash.py PARENT_PID -- COMMAND...

A PARENT_PID of 0 is the process that starts it.

`pipelines.local.runner` starts one per job, each in its own session. When the command ends, when the
parent dies (even by SIGKILL) or when this process receives a stop signal, everything that the command
started is ended: first by SIGTERM, upon which a fold saves a checkpoint, then by SIGKILL.

On Linux the kernel signals the parent's death (PR_SET_PDEATHSIG), and orphans of the command become
children of this process (PR_SET_CHILD_SUBREAPER), which finds them all. Elsewhere the leash looks for
its parent once a second, and kills the command's process group.

Standard library only, and run by path, so that it starts in a few hundredths of a second.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

_LINUX = sys.platform == "linux"
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

# Seconds for a stopped command to save; a reclaimed machine usually gives 30.
_PATIENCE = 27.0

_adopting: list[int] = []  # the process that called `adopt`, without its forks


class _Stopped(BaseException):
    """A stop signal, or the parent's death."""


def _prctl(option: int, value: int) -> None:
    if _LINUX:
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the third, the state, on; [] if the process has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _processes() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _descendants(ancestor: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for pid in _processes():
        fields = _stat(pid)
        if fields:
            children.setdefault(int(fields[1]), []).append(pid)
    found, remaining = [], [ancestor]
    while remaining:
        below = children.get(remaining.pop(), [])
        found += below
        remaining += below
    return found


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def adopt() -> None:
    """Makes this process the parent of orphans of a killed leash, for `end_orphans`; on Linux only."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    _adopting.append(os.getpid())


def end_orphans(leashes: set[int]) -> None:
    """Kills descendants of this process, except the given leashes and their descendants."""
    if os.getpid() not in _adopting or not _LINUX:
        return
    while True:
        parents = {pid: int(fields[1]) for pid in _processes() if (fields := _stat(pid))}
        orphans = [
            pid for pid, parent in parents.items() if parent == os.getpid() and pid not in leashes
        ]
        if not orphans:
            return
        for orphan in orphans:
            _kill(orphan)
            os.waitpid(orphan, 0)  # its children become children of this process


def _end_all(child: int) -> None:
    """Kills and reaps everything below this process."""
    if not _LINUX:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child, signal.SIGKILL)
    while True:
        if _LINUX:
            for pid in _descendants(os.getpid()):
                _kill(pid)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _ask(child: "subprocess.Popen[bytes]") -> None:
    """Passes SIGTERM on and waits for the command to save and end."""
    child.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(_PATIENCE)


def _in_child() -> None:
    # If the leash is killed, its command is killed too.
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if not _LINUX:
        os.setpgid(0, 0)


def _hold(parent: int, command: list[str]) -> int:
    def stop(number: int, frame: FrameType | None) -> None:
        raise _Stopped

    def look(number: int, frame: FrameType | None) -> None:
        if os.getppid() != parent:
            raise _Stopped

    for number in _STOPS:
        signal.signal(number, stop)
    child = None
    code = 128 + signal.SIGTERM
    try:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)
        if os.getppid() != parent:  # it died before the call above
            return code
        # The command inherits the lock of the workdir, which is held until its last user ends.
        child = subprocess.Popen(command, close_fds=False, preexec_fn=_in_child)
        if not _LINUX:
            signal.signal(signal.SIGALRM, look)
            signal.setitimer(signal.ITIMER_REAL, 1, 1)
        code = child.wait()
    except _Stopped:
        for number in _STOPS:
            signal.signal(number, signal.SIG_IGN)
        if child is not None:
            _ask(child)
    finally:
        for number in _STOPS:
            signal.signal(number, signal.SIG_IGN)
        if not _LINUX:
            signal.setitimer(signal.ITIMER_REAL, 0)
        if child is not None:
            _end_all(child.pid)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(_hold(int(sys.argv[1]) or os.getppid(), sys.argv[3:]))
