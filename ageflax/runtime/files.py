"""Small files, written whole or not at all, and JSON read with damage told apart from absence."""

import contextlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ageflax.errors import InputError, first_line

Json = dict[str, Any]  # a JSON object of free form

_ADDRESS = re.compile(r"(?!hf:)[A-Za-z][A-Za-z0-9+.-]+://")


def local(text: str) -> str:
    """A path on this machine, "~" expanded; a name on the hub, hf://..., is left as it is.

    Raises:
      InputError: an address such as gs://bucket, or "~" of a user without a home.
    """
    if _ADDRESS.match(text):
        raise InputError(
            f"{text}: an address, not a path on this machine; mount the bucket (gcsfuse for gs://,"
            " mount-s3 for s3://) and name the folder there"
        )
    path = os.path.expanduser(text)  # noqa: PTH111  a hub's name is no path; pathlib would raise
    if path == text and text.split("/")[0] == "~":
        raise InputError(f"{text}: this user has no home folder; name a folder by its whole path")
    return path


def read_json(path: Path, *, remedy: str = "remove it or restore it") -> Any:
    """Reads a JSON file; None only if it is absent.

    Args:
      path: file to read.
      remedy: advice that ends the error message.

    Raises:
      InputError: the file is damaged: cut short, not JSON, not UTF-8, or `null`.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except RecursionError:
        why = "brackets without end"
    except ValueError as error:
        why = first_line(error)
    else:
        if content is not None:
            return content
        why = "null"
    raise InputError(f"{path}: damaged JSON ({why}); {remedy}")


def read_json_or(path: Path, default: Any) -> Any:
    """Reads a JSON file that can be made again; `default` if it is absent or damaged."""
    try:
        content = read_json(path)
    except InputError:
        return default
    return default if content is None else content


def make_writable(folder: Path, option: str) -> None:
    """Makes a folder if absent and checks that files can be made in it.

    Args:
      folder: folder to write into.
      option: name of the option that gave the folder, for the error message.

    Raises:
      InputError: the folder cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Several processes may try the same folder at once, as folds of one run do.
        probe = folder / f".writable.{os.getpid()}"
        probe.touch()
        probe.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{option}={folder}: cannot be written: {error.strerror}") from error


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Names `path` in an OSError of the block that names no file, as that of a full disk."""
    try:
        yield
    except OSError as error:
        if error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path that replaces `path` if the block succeeds, and is removed otherwise.

    Several processes may write a file at once, as folds of one run do: the last one's content stays.

    Raises:
      OSError: the disk refuses the file; the error names `path`, which is unchanged.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        if error.filename not in (None, str(temporary)):
            raise  # another file's error, from within the block
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Writes a JSON file whole or not at all; see `replacing`."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")
