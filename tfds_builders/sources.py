"""Images of a source: in the extracted folder, or in the archive as downloaded."""

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from ageflax.data import images
from ageflax.data.building import archives


def folders_in(folder: Path) -> list[Path]:
    """Folders in a folder, sorted; [] if it is absent."""
    return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def archive(folder: Path, name: str, suffixes: Iterable[str]) -> Path | None:
    """The archive of that name in a folder, if there is one."""
    paths = (folder / f"{name}{suffix}" for suffix in suffixes)
    return next((path for path in paths if path.is_file()), None)


def locate(folder: Path, name: str, suffixes: Iterable[str]) -> Path | None:
    """The extracted folder of that name in a folder, else the archive; None if both are absent.

    An archive extracted into a folder of its own leaves NAME/NAME, which is then the one.
    """
    for path in (folder / name / name, folder / name):
        if path.is_dir():
            return path
    return archive(folder, name, suffixes)


class Source(Protocol):
    """Files of a source, by their paths below the manual directory."""

    @property
    def path(self) -> Path:
        """The folder or the archive."""
        ...

    @property
    def origin(self) -> dict[str, Any]:
        """Where files are read from, for the dataset's metadata."""
        ...

    @property
    def other(self) -> str:
        """A file that is there, for a message that all expected ones are absent; "" if there is none."""
        ...

    def where(self, path: str) -> str:
        """Location of a file, for messages."""
        ...

    def read(self, path: str) -> bytes:
        """Reads a file.

        Raises:
          images.BadImageError: absent, unreadable, empty or too large.
        """
        ...

    def only(self, paths: Iterable[str]) -> "Source":
        """The same source reduced to some files, small enough to send to a worker."""
        ...


@dataclasses.dataclass(frozen=True)
class Extracted:
    """Files in the folder that the archive was extracted to.

    Attributes:
      manual_dir: parent of the folder.
      folder: name of the folder.
      archive: the archive, if that is there too.
    """

    manual_dir: Path
    folder: str
    archive: Path | None

    @property
    def path(self) -> Path:
        """The folder."""
        return self.manual_dir / self.folder

    @property
    def origin(self) -> dict[str, Any]:
        """The folder, and whether the archive is there too."""
        return {"read_from": f"folder {self.folder}", "archive_not_read": self.archive is not None}

    @property
    def other(self) -> str:
        """The first file in the folder."""
        found = next((path for path in self.path.rglob("*") if path.is_file()), None)
        return str(found.relative_to(self.manual_dir)) if found else ""

    def where(self, path: str) -> str:
        """The file's path."""
        return str(self.manual_dir / path)

    def read(self, path: str) -> bytes:
        """Reads a file."""
        return images.read(self.manual_dir / path)

    def only(self, paths: Iterable[str]) -> "Extracted":
        """Returns itself: it holds no list of files."""
        del paths
        return self


@dataclasses.dataclass(frozen=True)
class Packed:
    """Files in the archive.

    Attributes:
      archive: the archive's members.
      path: path of the archive.
      published_md5: md5 of the archive as published; None if unknown.
      notes: additional metadata.
    """

    archive: archives.Archive
    path: Path
    published_md5: str | None
    notes: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def origin(self) -> dict[str, Any]:
        """The archive, its md5, and whether that is the published one."""
        known = self.published_md5
        return {
            "read_from": f"archive {self.path.name}",
            "archive_md5": self.archive.md5,
            "archive_md5_is_the_published_one": None
            if known is None
            else self.archive.md5 == known,
            "archive_members_refused": self.archive.refused,
            **self.notes,
        }

    @property
    def other(self) -> str:
        """The first file of the archive that is not wanted."""
        return self.archive.other

    def where(self, path: str) -> str:
        """The archive's path and the member's."""
        return f"{self.path}: {path}"

    def read(self, path: str) -> bytes:
        """Reads a member."""
        return self.archive.read(path)

    def only(self, paths: Iterable[str]) -> "Packed":
        """The same archive with some of its members."""
        return dataclasses.replace(self, archive=self.archive.only(paths))
