"""Small files that are there whole or not at all."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def read_json(path: Path) -> Any:
    """A JSON file's content, or None where it is absent, cut short or no JSON."""
    try:
        return json.loads(path.read_text())
    # No text, no JSON, brackets without end.
    except (FileNotFoundError, ValueError, RecursionError):
        return None


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A name to write under, which becomes `path` if all goes well; else nothing is left of it.

    Several processes may write a file at once, as folds of one run do: the last one's content stays.

    Raises:
      OSError: the disk does not take it; names `path`, which is as it was.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        if error.filename not in (None, str(temporary)):
            raise  # of another file, within
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Writes a JSON file so that it is there whole or not at all; see `replacing`."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")
