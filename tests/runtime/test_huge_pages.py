import os
import subprocess
import sys

import pytest

_CODE = (
    "import os, sys\n"
    "from ageflax.runtime import huge_pages\n"
    "print(os.getpid(), os.environ.get('GLIBC_TUNABLES'), sys.argv[1:])\n"
    "huge_pages.restart()\n"
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


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's")
def test_the_same_process_starts_once_more_with_its_arguments():
    first, second = printed("--a b", "c")
    process = first.split()[0]
    assert first == f"{process} None ['--a b', 'c']"
    assert second == f"{process} glibc.malloc.hugetlb=1 ['--a b', 'c']"


def test_a_variable_that_is_set_is_left_alone():
    (line,) = printed(GLIBC_TUNABLES="glibc.malloc.check=0")
    assert line.split()[1] == "glibc.malloc.check=0"
