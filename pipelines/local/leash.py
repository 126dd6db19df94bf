"""Runs a command that must not outlive who asked for it: python leash.py PARENT_PID -- COMMAND...

Started by `pipelines.local.runner`, one for each job, as the head of a session of its own. When the command
ends, when the parent dies (by SIGKILL too) or when this process is told to stop, everything that the
command started is ended: by SIGTERM first, upon which a fold saves where it is, and after that killed.

On Linux the kernel tells of the parent's death (PR_SET_PDEATHSIG), and orphans of the command come to
this process (PR_SET_CHILD_SUBREAPER), so that it finds every one. Elsewhere the parent is looked for
once a second, and the command's process group is killed.

Standard library only, and run by path: it starts in a few hundredths of a second.
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

# Seconds that a command told to stop has to save. Who reclaims a machine gives 30, most often.
_PATIENCE = 27.0

_adopting: list[int] = []  # the process that has called adopt; not its forks


class _Stopped(BaseException):
    """Told to stop, or the parent is gone."""


def _prctl(option: int, value: int) -> None:
    if _LINUX:
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the third, the state; [] of a process that is gone."""
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
    """Orphans of a leash that is killed itself come to this process, for `end_orphans`. On Linux."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    _adopting.append(os.getpid())


def end_orphans(leashes: set[int]) -> None:
    """Kills whatever is below this process and not one of these leashes or below them."""
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
            os.waitpid(orphan, 0)  # what was below it comes here next


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
    """Passes SIGTERM on, and waits for what the command makes of it."""
    child.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(_PATIENCE)


def _in_child() -> None:
    # Should the leash itself be killed, its command goes with it.
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
        if os.getppid() != parent:  # it died before it could be listened for
            return code
        # The lock of the workdir is passed on: it is held until the last of its users is gone.
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
    sys.exit(_hold(int(sys.argv[1]), sys.argv[3:]))
