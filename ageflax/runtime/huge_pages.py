"""Memory in huge pages, for which glibc can be asked only where a process starts."""

import os
import sys

_NAME, _VALUE = "GLIBC_TUNABLES", "glibc.malloc.hugetlb=1"


def restart() -> None:
    """Executes this process's command anew, as the same process, where memory would be in small pages.

    XLA gives a step's temporaries back after it, and takes as many gigabytes again before the next. On
    CPUs the faults of 4 KiB pages are then a tenth to a sixth of a step. Whoever sets the variable
    decides for himself.
    """
    if sys.platform == "linux" and _NAME not in os.environ:
        os.environ[_NAME] = _VALUE
        sys.stdout.flush()
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
