from pathlib import Path

import array_record.python.array_record_module as array_record
import pytest

from ageflax.data.building import disk
from ageflax.errors import RunError

FOLDER = Path("/data/faces/1.0.0")
TOLD = r"^cannot write /data/faces/1\.0\.0: No space left on device; nothing is left of it$"


def test_a_full_disk_under_python():
    with pytest.raises(RunError, match=TOLD), disk.failures_told(FOLDER):
        raise OSError(28, "No space left on device")


def test_a_full_disk_under_array_record():
    with pytest.raises(RunError, match=TOLD), disk.failures_told(FOLDER):
        writer = array_record.ArrayRecordWriter("/dev/full", "group_size:1")
        writer.write(b"x" * 100_000)
        writer.close()


@pytest.mark.parametrize(
    "error", [FileNotFoundError(2, "gone"), RuntimeError("a bug"), ValueError()]
)
def test_other_errors_pass(error: Exception):
    with pytest.raises(type(error)) as caught, disk.failures_told(FOLDER):
        raise error
    assert caught.value is error
