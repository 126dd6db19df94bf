"""Finds the photographs of labels.csv on disk, and says why one cannot be used."""

import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from ageflax.data.washing.report import Rejection
from ageflax.errors import one_line

from .file_kinds import kind

_HEAD = 4096  # bytes that tell a file's kind


def _spellings(path: str) -> Iterator[str]:
    """A path as it is, in NFC and in NFD, each with its suffix in either case."""
    for form in (path, unicodedata.normalize("NFC", path), unicodedata.normalize("NFD", path)):
        suffix = PurePosixPath(form).suffix
        stem = form.removesuffix(suffix)
        yield from (form, stem + suffix.lower(), stem + suffix.upper())


class Disk:
    """The photographs below a folder, as the disk spells their paths.

    Args:
      folder: the folder of labels.csv.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._other: dict[str, str] = {}

    def locate(self, path: str) -> str:
        """The spelling of a path that exists, the path's own first; `path` itself if none does."""
        # os.path.exists returns False for a name that is too long.
        exists = (one for one in _spellings(path) if os.path.exists(self._folder / one))  # noqa: PTH110
        found = next(exists, path)
        if found != path:
            self._other[path] = found
        return found

    @property
    def notice(self) -> str:
        """A line for the user if `locate` found paths in another spelling, otherwise ""."""
        if not self._other:
            return ""
        written, found = next(iter(self._other.items()))
        return one_line(
            "notice: paths spelled otherwise on disk, in the case of the suffix or in Unicode form: "
            f"{len(self._other):,}, such as {found!a} for {written!a}"
        )

    def explain(self, bad: Rejection) -> str:
        """Explains why a photograph cannot be used; "" if its reason says enough."""
        file = self._folder / bad.key
        if bad.reason == "absent" and os.path.exists(file):  # noqa: PTH110
            return f"{file} is not a file"
        if bad.reason == "absent":
            return f"no {file}, in either case of its suffix, NFC or NFD"
        if bad.reason == "not an image":
            with file.open("rb") as opened:
                found = kind(opened.read(_HEAD))
            return f"{bad.key}: {found}" if found else ""
        return bad.detail
