"""Reports a full or failing disk in one line while a dataset is written."""

import contextlib
import errno
import re
from collections.abc import Iterator
from pathlib import Path

from ageflax.errors import RunError

# Errors of a full or failing disk; other OSErrors have other causes.
_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EFBIG)
# array_record's writer raises RuntimeError: "write() failed: No space left on device; writing ...".
_WRITER = re.compile(r"(?:write|close|open|fsync)\(\) failed: ([^;\n]+)")


@contextlib.contextmanager
def failures_told(path: Path) -> Iterator[None]:
    """Turns errors of a full disk, in TFDS or in array_record, into a RunError that names the folder.

    TFDS has removed the half-written dataset by then.

    Raises:
      RunError: the disk is full or fails.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _ERRORS:
            raise
        raise RunError(f"cannot write {path}: {error.strerror}; nothing is left of it") from error
    except RuntimeError as error:
        found = _WRITER.search(str(error))
        if not found:
            raise
        raise RunError(f"cannot write {path}: {found[1]}; nothing is left of it") from error
