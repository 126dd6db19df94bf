"""Records the files that a dataset is built from, and compares them with those that are there later.

A build lists every file that it read in source_files.csv, beside the records; `source` in metadata.json
has their folder and the digest of their contents. Later, lists of labels are compared by content. Images
are compared by size and time of change, and by content if only the time differs; those of an archive by
the archive, or by size once it is extracted.
"""

import csv
import dataclasses
import datetime
import functools
import hashlib
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from tqdm import tqdm

from ageflax.data.building import archives
from ageflax.errors import InputError, one_line
from ageflax.runtime.files import Json

Item = TypeVar("Item")

LISTING = "source_files.csv"
_TEXT: dict[str, Any] = {"encoding": "utf-8", "errors": "surrogateescape"}
_LIST, _IMAGE, _ARCHIVE = "list", "image", "archive"


@dataclasses.dataclass(frozen=True)
class Place:
    """Where the files of a source lie.

    Attributes:
      folder: folder with the lists of labels.
      images: folder or archive of images by the first folder of their names; the name "" stands for any.
        Without an entry they are absent.
    """

    folder: Path
    images: Mapping[str, Path]

    @functools.cached_property
    def _extracted(self) -> frozenset[str]:
        return frozenset(top for top, place in self.images.items() if place.is_dir())

    def top(self, name: str) -> str:
        """The key of `images` for an image's name."""
        return "" if "" in self.images else name.partition("/")[0]

    def path(self, name: str) -> Path | None:
        """A file's path; None if it is in an archive or absent."""
        top = self.top(name)
        if top in self._extracted:
            return self.images[top] / name.removeprefix(f"{top}/")
        return None if "/" in name else self.folder / name


@dataclasses.dataclass(frozen=True, slots=True)
class _Row:
    """A line of source_files.csv.

    Attributes:
      file: name below the folder.
      kind: "list", "image" or "archive".
      bytes: size; -1 for an absent file.
      modified: time of change, nanoseconds; 0 for a member of an archive.
      md5: md5 of the content; "" for an image that cannot be read.
    """

    file: str
    kind: str
    bytes: int
    modified: int
    md5: str


def _status(path: Path | None) -> tuple[int, int]:
    """Size and time of change; -1 and 0 if it is no file."""
    try:
        found = path.stat() if path else None
    except OSError:
        found = None
    if found is None or not stat.S_ISREG(found.st_mode):
        return -1, 0
    return found.st_size, found.st_mtime_ns


class Record:
    """The files of a source, noted as a build reads them.

    Args:
      name: name of the source.
      place: where its files lie.
      manual_dir: folder of downloads in which they were found.
    """

    def __init__(self, name: str, place: Place, manual_dir: Path):
        self._name, self._place, self._manual_dir = name, place, manual_dir
        self._rows: dict[str, _Row] = {}
        self._members: dict[str, int] = {}

    def _note(self, file: str, kind: str, status: tuple[int, int], md5: str) -> None:
        self._rows[file] = _Row(file, kind, *status, md5)

    def _status(self, file: str) -> tuple[int, int]:
        path = self._place.path(file)
        return _status(path) if path else (self._members.get(file, -1), 0)

    def note_archive(self, path: Path, archive: archives.Archive) -> None:
        """Notes an archive; call this before its members are read."""
        self._note(path.name, _ARCHIVE, _status(path), archive.md5)
        self._members |= {name: size for name, (_, size) in archive.places.items()}

    def note_list(self, file: str, md5: str) -> None:
        """Notes a list of labels."""
        self._note(file, _LIST, self._status(file), md5)

    def reading(
        self, read: Callable[[Item], bytes], name: Callable[[Item], str]
    ) -> Callable[[Item], bytes]:
        """`read`, noting each image; called from several threads.

        Args:
          read: item -> content of its image.
          name: item -> name of its image.
        """

        def noted(item: Item) -> bytes:
            file = name(item)
            status = self._status(file)
            self._note(file, _IMAGE, status, "")  # stays if it cannot be read
            content = read(item)
            self._note(file, _IMAGE, status, hashlib.md5(content).hexdigest())
            return content

        return noted

    def write(self, folder: Path) -> Json:
        """Writes source_files.csv into a dataset's folder; returns `source` of its metadata.json."""
        rows = sorted(self._rows.values(), key=lambda row: row.file)
        with (folder / LISTING).open("w", newline="", **_TEXT) as file:
            writer = csv.writer(file)
            writer.writerow(field.name for field in dataclasses.fields(_Row))
            writer.writerows(dataclasses.astuple(row) for row in rows)
        digest = hashlib.sha256()
        for row in rows:
            if row.kind != _ARCHIVE:  # an archive and its extracted folder are one source
                digest.update(repr((row.file, row.md5)).encode())
        return {
            "name": self._name,
            "path": str(self._manual_dir.absolute()),
            "digest": digest.hexdigest()[:16],
        }


def of_metadata(metadata: Mapping[str, Any]) -> Json | None:
    """`path` and `digest` of a dataset's source; None if its build recorded none."""
    found = metadata.get("source")
    if not isinstance(found, dict) or "digest" not in found:
        return None
    return {key: found.get(key) for key in ("path", "digest")}


def described(metadata: Mapping[str, Any]) -> Json:
    """Entry `source` of a description of the data: path and digest, if the build recorded them."""
    found = of_metadata(metadata)
    return {"source": found} if found else {}


@dataclasses.dataclass(frozen=True)
class Difference:
    """How files differ from those of a build.

    Attributes:
      changes: a line per kind of difference, such as "labels.csv differs (last changed on 2026-11-03
        10:20)"; empty if there is none.
      gone: folders or archives of images of which nothing is left, as after a build they may be removed.
    """

    changes: Sequence[str]
    gone: Sequence[str]


def _rows(path: Path) -> list[_Row]:
    try:
        with path.open(newline="", **_TEXT) as file:
            found = csv.reader(file)
            if next(found, None) != [field.name for field in dataclasses.fields(_Row)]:
                raise ValueError("another header")
            return [
                _Row(name, kind, int(size), int(modified), md5)
                for name, kind, size, modified, md5 in found
            ]
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read ({error}); rebuild the dataset") from error


def _md5(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "md5").hexdigest()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error


def _changed(path: Path, others: int = 0) -> str:
    when = datetime.datetime.fromtimestamp(_status(path)[1] / 1e9)
    what = f"{path.name} and {others} more differ" if others else f"{path.name} differs"
    return f"{what} (last changed on {when:%Y-%m-%d %H:%M})"


def _changed_lists(rows: Sequence[_Row], place: Place) -> list[str]:
    """Lines about lists of labels that differ from those of the build."""
    paths = [(row, path) for row in rows if (path := place.path(row.file))]
    absent = [row.file for row, path in paths if not path.is_file()]
    changed = [path for row, path in paths if path.is_file() and _md5(path) != row.md5]
    found = [f"not there: {', '.join(absent)}"] if absent else []
    if changed:
        found.append(_changed(changed[0], len(changed) - 1))
    return found


def _changed_files(rows: Sequence[_Row], place: Place) -> list[str] | None:
    """Names of images in a folder that differ from those of the build; None if not one is left."""
    paths = {row.file: place.path(row.file) for row in rows}
    found = {file: _status(path) for file, path in paths.items()}
    if all(size < 0 for size, _ in found.values()):
        return None
    # Copies have another time; members of an archive have none.
    doubtful = {
        row.file: path
        for row in rows
        if row.md5 and (path := paths[row.file])
        if found[row.file][0] == row.bytes and row.modified not in (0, found[row.file][1])
    }
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        sums = pool.map(_md5, doubtful.values())
        shown = tqdm(sums, "Comparing images", len(doubtful), leave=False, disable=None)
        md5 = dict(zip(doubtful, shown, strict=True))
    return [
        row.file
        for row in rows
        if found[row.file][0] != row.bytes or md5.get(row.file, row.md5) != row.md5
    ]


def _changed_members(rows: Sequence[_Row], archive: Path, recorded: _Row | None) -> list[str]:
    """Names of images in an archive that differ; the archive's own if it is not the one recorded."""
    if recorded:
        size, modified = _status(archive)
        same = size == recorded.bytes and (
            modified == recorded.modified or _md5(archive) == recorded.md5
        )
        return [] if same else [archive.name]
    sizes = archives.sizes(archive, {row.file for row in rows})
    return [row.file for row in rows if sizes.get(row.file, -1) != row.bytes]


def compare(dataset: Path, place: Place) -> Difference:
    """Compares files with those that a dataset was built from.

    Args:
      dataset: folder of a built dataset, which has a record of its source.
      place: where the files lie.

    Raises:
      InputError: the record or a file cannot be read.
    """
    lists: list[_Row] = []
    recorded: dict[str, _Row] = {}
    images: dict[str, list[_Row]] = {}
    for row in _rows(dataset / LISTING):
        if row.kind == _ARCHIVE:
            recorded[row.file] = row
        elif row.kind == _LIST and place.path(row.file):
            lists.append(row)
        else:
            images.setdefault(place.top(row.file), []).append(row)
    changes, gone = _changed_lists(lists, place), []
    for top, rows in images.items():
        there = place.images.get(top)
        if there is None:
            gone.append(top or "the images")
        elif there.is_dir():
            changed = _changed_files(rows, place)
            if changed is None:
                gone.append(top or "the images")
            elif changed:
                changes.append(_counted(changed, rows))
        elif changed := _changed_members(rows, there, recorded.get(there.name)):
            same_archive = changed == [there.name]
            changes.append(_changed(there) if same_archive else _counted(changed, rows))
    return Difference(changes, gone)


def _counted(changed: Sequence[str], rows: Sequence[_Row]) -> str:
    return (
        f"{len(changed):,} of {len(rows):,} images differ, the first: {one_line(changed[0], 200)}"
    )
