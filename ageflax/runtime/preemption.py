"""Told to make room: SIGTERM, as spot machines, Slurm and Kubernetes send it, and what is done about it.

Where nothing is to be saved, the signal raises Preempted. Within `deferred`, training's loop, it is only
noted: the loop asks `asked` at each of its steps, saves, and raises Preempted itself.
"""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator

# What a shell gives for any program that SIGTERM ended. The same command goes on.
EXIT_CODE = 128 + signal.SIGTERM
# Who reclaims a machine gives 30 seconds, most often. A compilation or a dispatch that takes longer is
# not waited for: what the last checkpoint has is there.
PATIENCE = 25.0


class Preempted(BaseException):
    """SIGTERM has come. No Exception, like KeyboardInterrupt, so that nothing swallows it."""


class _State:
    asked = False
    depth = 0


def asked() -> bool:
    """Whether the signal has come."""
    return _State.asked


def _heard(number: int, frame: object) -> None:
    first, _State.asked = not _State.asked, True
    if first and not _State.depth:
        raise Preempted


def _watch(descriptor: int, left: threading.Event) -> None:
    """Ends the process where the main thread has not within PATIENCE of the signal.

    A main thread that has left `listening` and goes on does so by its own choice; one that has ended may
    still wait for threads of other people's.

    It is told of signals by a pipe that Python's C handler writes to: a main thread that is within XLA
    cannot run a handler.
    """
    with contextlib.suppress(OSError):
        while received := os.read(descriptor, 64):
            if signal.SIGTERM in received:
                break
        else:
            return
        time.sleep(PATIENCE)
        if left.is_set() and threading.main_thread().is_alive():
            return
        print(
            f"ageflax: told to stop, and not done within {PATIENCE:.0f} seconds; the same command goes"
            " on from the last checkpoint",
            file=sys.stderr,
            flush=True,
        )
        os._exit(EXIT_CODE)


@contextlib.contextmanager
def _raised_again() -> Iterator[None]:
    """Within it a Preempted that Python swallowed is raised once more, a moment later.

    What a handler raises within a garbage collection or a finaliser is only printed, and JAX has a
    callback at each collection: no rare place to be when the signal comes.
    """
    before = sys.unraisablehook

    def hook(swallowed: "sys.UnraisableHookArgs") -> None:
        if not isinstance(swallowed.exc_value, Preempted):
            before(swallowed)
            return
        _State.asked = False
        again = threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGTERM))
        again.daemon = True
        again.start()

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before


@contextlib.contextmanager
def listening() -> Iterator[None]:
    """Within it SIGTERM means what this module says. Only a process's main thread can listen."""
    _State.asked, _State.depth = False, 0
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    left = threading.Event()
    threading.Thread(target=_watch, args=(reading, left), name="preemption", daemon=True).start()
    before = signal.signal(signal.SIGTERM, _heard)
    told = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        with _raised_again():
            yield
    finally:
        left.set()
        signal.set_wakeup_fd(told)
        signal.signal(signal.SIGTERM, signal.SIG_IGN if _State.asked else before)
        _State.asked = False  # who goes on in this process was not told
        os.close(writing)  # the watcher ends, unless it counts down


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Around what has something to save: the signal is noted, and raised where the block ends."""
    _State.depth += 1
    try:
        yield
    finally:
        _State.depth -= 1
    if _State.asked:
        raise Preempted
