import os
import subprocess
import sys

import pytest

linux = pytest.mark.skipif(sys.platform != "linux", reason="glibc's")

_CODE = (
    "import os, sys\n"
    "from ageflax.runtime import memory\n"
    "print(os.getpid(), os.environ.get('GLIBC_TUNABLES'), sys.argv[1:])\n"
    "memory.restart_with_huge_pages()\n"
)


def printed(*words: str, **variables: str) -> list[str]:
    kept = {k: v for k, v in os.environ.items() if k != "GLIBC_TUNABLES"}
    done = subprocess.run(
        [sys.executable, "-c", _CODE, *words],
        env=kept | variables,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


@linux
def test_the_same_process_starts_once_more_with_its_arguments():
    first, second = printed("--a b", "c")
    process = first.split()[0]
    assert first == f"{process} None ['--a b', 'c']"
    assert second == f"{process} glibc.malloc.hugetlb=1 ['--a b', 'c']"


def test_a_variable_that_is_set_is_left_alone():
    (line,) = printed(GLIBC_TUNABLES="glibc.malloc.check=0")
    assert line.split()[1] == "glibc.malloc.check=0"


_FAULTS = """
import resource, sys
import numpy as np
from ageflax.runtime import memory
if sys.argv[1] == "keep":
    memory.keep_freed()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    before = faults()
    np.ones(100_000_000, np.uint8)
print(faults() - before)
"""


@linux
def test_memory_that_a_call_has_freed_is_there_for_the_next():
    def faults(how):
        words = [sys.executable, "-c", _FAULTS, how]
        return int(subprocess.run(words, capture_output=True, text=True, check=True).stdout)

    assert faults("keep") < 100 < faults("return")
