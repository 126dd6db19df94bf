"""Opens weights files, and checks names and numbers read from them."""

import contextlib
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

import numpy as np

from ageflax.errors import InputError

_LONGEST_NAME = 200  # characters; messages print names


@contextlib.contextmanager
def opened(path: Path) -> Iterator[BufferedReader]:
    """Opens a file for reading.

    Raises:
      InputError: the file is absent, a folder or empty, or the system refuses to read it.
    """
    try:
        if not path.is_file():
            raise InputError(f"{path}: {'a folder, not a' if path.is_dir() else 'no such'} file")
        if not path.stat().st_size:
            raise InputError(f"{path}: an empty file")
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error


def check_name(name: str, path: Path) -> None:
    """Raises InputError if a tensor's name cannot be printed or is too long."""
    if len(name) > _LONGEST_NAME or not name.isprintable():
        raise InputError(f"{path}: a tensor's name is not printable or too long")


def as_float32(values: np.ndarray, where: str) -> np.ndarray:
    """Converts floats of any width; raises InputError if any is not finite or exceeds float32."""
    with np.errstate(over="ignore"):  # to infinity, reported next
        values = values.astype(np.float32, copy=False)
    if not np.isfinite(values).all():
        raise InputError(f"{where} has values that are not finite")
    return values
