"""Where the images of a database come from: the extracted folder, the archive, or the network."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from ageflax.data import images
from ageflax.data.building import archives
from ageflax.errors import InputError

from . import download


class Crops(Protocol):
    """The images of one database and the .mat file that lies among them."""

    @property
    def origin(self) -> dict[str, Any]:
        """What is read, for the dataset's metadata."""
        ...

    @property
    def metadata_name(self) -> str:
        """Names the .mat file in messages."""
        ...

    def read(self, path: str) -> bytes:
        """A file's bytes.

        Raises:
          images.BadImageError: absent, unreadable, empty or too large.
        """
        ...

    def only(self, paths: Sequence[str]) -> "Crops":
        """The same, with no more than is needed to read some files: what a worker is sent."""
        ...


def folder_name(database: str) -> str:
    """Of the extracted images, below the manual directory."""
    return f"{database}_crop"


def archive_name(database: str) -> str:
    """As the authors' server has it."""
    return f"{folder_name(database)}.tar"


@dataclasses.dataclass(frozen=True)
class ExtractedFolder:
    """Images read from the folder that the archive was extracted to."""

    manual_dir: Path
    database: str

    @property
    def origin(self) -> dict[str, Any]:
        """Names the folder, and says whether an archive lies beside it."""
        archive = self.manual_dir / archive_name(self.database)
        return {
            "read_from": f"folder {folder_name(self.database)}",
            "archive_not_read": archive.is_file(),
        }

    @property
    def metadata_name(self) -> str:
        """The file's path."""
        return str(self.manual_dir / folder_name(self.database) / f"{self.database}.mat")

    def read(self, path: str) -> bytes:
        """The file's bytes."""
        return images.read(self.manual_dir / folder_name(self.database) / path)

    def only(self, paths: Sequence[str]) -> "ExtractedFolder":
        """Itself: it holds a path and nothing else."""
        del paths
        return self


@dataclasses.dataclass(frozen=True)
class PackedCrops:
    """Images read out of the archive, where they lie in it."""

    archive: archives.Archive
    database: str
    downloaded: bool

    @property
    def origin(self) -> dict[str, Any]:
        """The archive, its md5, whether that is the published one, and how it came here."""
        return {
            "read_from": f"archive {self.archive.file.name}",
            "archive_md5": self.archive.md5,
            "archive_md5_is_the_published_one": self.archive.md5 == download.MD5[self.database],
            "archive_members_refused": self.archive.refused,
            "downloaded": self.downloaded,
        }

    @property
    def metadata_name(self) -> str:
        """The archive's path and the member's."""
        return f"{self.archive.file}: {folder_name(self.database)}/{self.database}.mat"

    def read(self, path: str) -> bytes:
        """The member's bytes."""
        return self.archive.read(f"{folder_name(self.database)}/{path}")

    def only(self, paths: Sequence[str]) -> "PackedCrops":
        """Knows the places of these files alone, out of half a million."""
        names = [f"{folder_name(self.database)}/{path}" for path in paths]
        return dataclasses.replace(self, archive=self.archive.only(names))


class _Everything:
    """Any image and the .mat file: which images there are stands in that file, in the archive."""

    def __init__(self, database: str):
        self._folder = f"{folder_name(database)}/"
        self._metadata = f"{self._folder}{database}.mat"

    def __contains__(self, name: object) -> bool:
        text = str(name)
        return text == self._metadata or (
            text.startswith(self._folder) and text.endswith(".jpg") and ".." not in text
        )


def find(manual_dir: Path, database: str) -> Crops:
    """The images of a database: the folder if it is there, else the archive, else a download.

    Args:
      manual_dir: holds `wiki_crop/` or `wiki_crop.tar` (`imdb_crop` likewise); an archive that has
        to be downloaded is put there.
      database: of metadata.DATABASES.

    Raises:
      InputError: the archive cannot be read or downloaded.
    """
    if (manual_dir / folder_name(database)).is_dir():
        return ExtractedFolder(manual_dir, database)
    path = manual_dir / archive_name(database)
    downloaded = not path.is_file()
    if downloaded:
        download.fetch(database, path)
    # A plain tar is read in place: no folder for copies is needed.
    found = archives.read(path, _Everything(database), folder=manual_dir)
    return PackedCrops(found, database, downloaded)


def read_metadata(crops: Crops) -> bytes:
    """The .mat file among the images.

    Raises:
      InputError: it is not there, or cannot be read.
    """
    database = crops.metadata_name.rpartition("/")[2]
    try:
        return crops.read(database)
    except images.BadImageError as error:
        raise InputError(f"{crops.metadata_name}: {error.reason}") from error
