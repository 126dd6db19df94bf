"""How a command's process takes memory from the system: settings of glibc for XLA's temporaries.

XLA frees the temporaries of each call and allocates as many bytes for the next. On CPUs the page faults
of fresh 4 KiB pages then take a tenth to a half of it.
"""

import ctypes
import os
import sys

_NAME, _VALUE = "GLIBC_TUNABLES", "glibc.malloc.hugetlb=1"
# Parameters of mallopt.
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8
_MOST_KEPT = 2**31 - 1  # bytes; mallopt takes an int


def restart_with_huge_pages() -> None:
    """Executes this process's command again, in the same process, with huge pages switched on.

    For training, whose temporaries are gigabytes. A GLIBC_TUNABLES that is already set is left as it is.
    """
    if sys.platform == "linux" and _NAME not in os.environ:
        os.environ[_NAME] = _VALUE
        sys.stdout.flush()
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def keep_freed() -> None:
    """Lets this process reuse what it frees, up to 2 GiB, rather than return it to the system.

    For prediction, a stream of like calls. One arena serves all threads that start later. Without glibc
    nothing changes.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for parameter, value in ((_ARENA_MAX, 1), (_MMAP_MAX, 0), (_TRIM_THRESHOLD, _MOST_KEPT)):
            mallopt(parameter, value)
