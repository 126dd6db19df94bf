"""Graceful shutdown on SIGTERM (spot instances, Slurm, Kubernetes) and SIGHUP (a lost terminal).

Where there is nothing to save, the signal raises Preempted. Within `deferred`, around training's loop,
it is only recorded: the loop checks `asked` at every step, saves, and raises Preempted itself.
"""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator

_SIGNALS = (signal.SIGTERM, signal.SIGHUP)
# A shell's exit code for a program ended by SIGTERM. The same command resumes.
EXIT_CODE = 128 + signal.SIGTERM
# Machines are mostly reclaimed after 30 seconds. A compilation or dispatch that takes longer is cut off:
# the last checkpoint is there.
PATIENCE = 25.0


class Preempted(BaseException):
    """A signal was received. Like KeyboardInterrupt not an Exception, lest a handler swallow it."""

    def __str__(self) -> str:
        return _State.number.name


class _State:
    asked = False
    depth = 0
    number = signal.SIGTERM


def asked() -> bool:
    """True once the signal was received."""
    return _State.asked


def _heard(number: int, frame: object) -> None:
    first, _State.asked = not _State.asked, True
    if not first:
        return
    _State.number = signal.Signals(number)
    _leave_lost_terminal()
    if not _State.depth:
        raise Preempted


def _leave_lost_terminal() -> None:
    """Sends output nowhere if its terminal is gone: saving must not fail for a line of progress."""
    for descriptor in (1, 2):
        try:
            os.write(descriptor, b"")
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)


def _watch(descriptor: int, left: threading.Event) -> None:
    """Ends the process if its main thread does not do so within PATIENCE of the signal.

    A main thread that has left `listening` and carries on is left alone; one that has ended may still be
    waiting for other libraries' threads, and the process is ended.

    Signals arrive through a pipe that Python's C handler writes to, since a main thread inside XLA
    cannot run a Python handler.
    """
    with contextlib.suppress(OSError):
        while received := os.read(descriptor, 64):
            if set(_SIGNALS) & set(received):
                break
        else:
            return
        time.sleep(PATIENCE)
        if left.is_set() and threading.main_thread().is_alive():
            return
        with contextlib.suppress(OSError):  # the terminal may be gone
            print(
                f"ageflax: still busy {PATIENCE:.0f} seconds after"
                f" {_State.number.name}; ended. The same command resumes from the last"
                " checkpoint",
                file=sys.stderr,
                flush=True,
            )
        os._exit(EXIT_CODE)


@contextlib.contextmanager
def _raised_again() -> Iterator[None]:
    """Raises a Preempted that Python swallowed within the block once more, a moment later.

    An exception that a handler raises during a garbage collection or a finaliser is only printed, and
    JAX has a callback at every collection, so the signal often arrives there.
    """
    before = sys.unraisablehook

    def hook(swallowed: "sys.UnraisableHookArgs") -> None:
        if not isinstance(swallowed.exc_value, Preempted):
            before(swallowed)
            return
        _State.asked = False
        again = threading.Timer(0.02, os.kill, (os.getpid(), _State.number))
        again.daemon = True
        again.start()

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before


@contextlib.contextmanager
def listening() -> Iterator[None]:
    """Handles the signals within the block as this module describes; nothing outside the main thread.

    A signal that the process was started to ignore, as nohup does SIGHUP, stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Python has signals in the main thread only
        return
    _State.asked, _State.depth = False, 0
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    left = threading.Event()
    threading.Thread(target=_watch, args=(reading, left), name="preemption", daemon=True).start()
    before = {n: signal.getsignal(n) for n in _SIGNALS if signal.getsignal(n) != signal.SIG_IGN}
    for number in before:
        signal.signal(number, _heard)
    told = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        with _raised_again():
            yield
    finally:
        left.set()
        signal.set_wakeup_fd(told)
        for number, handler in before.items():
            signal.signal(number, signal.SIG_IGN if _State.asked else handler)
        _State.asked = False  # code that runs on in this process starts afresh
        os.close(writing)  # the watcher ends, unless it is counting down


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Defers the signal within the block, and raises Preempted at its end."""
    _State.depth += 1
    try:
        yield
    finally:
        _State.depth -= 1
    if _State.asked:
        raise Preempted
