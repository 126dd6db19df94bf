"""Images of a database, from the extracted folder, the archive, or the network."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path

from ageflax.data import images
from ageflax.data.building import archives
from ageflax.errors import InputError
from tfds_builders import sources

from . import download

SUFFIXES = (".tar",)


@dataclasses.dataclass(frozen=True)
class Crops:
    """Images of a database, and the .mat file beside them.

    Attributes:
      source: files of the images.
      folder: name of the images' folder.
    """

    source: sources.Source
    folder: str

    def where(self, path: str) -> str:
        """Location of a file, for messages."""
        return self.source.where(f"{self.folder}/{path}")

    def read(self, path: str) -> bytes:
        """Reads a file below the folder.

        Raises:
          images.BadImageError: absent, unreadable, empty or too large.
        """
        return self.source.read(f"{self.folder}/{path}")

    def only(self, paths: Iterable[str]) -> "Crops":
        """The same images reduced to some, small enough to send to a worker."""
        source = self.source.only([f"{self.folder}/{path}" for path in paths])
        return dataclasses.replace(self, source=source)


class _Everything:
    """Names of all images and of the .mat file, which lists the images and is in the archive itself."""

    def __init__(self, folder: str, metadata: str):
        self._folder, self._metadata = f"{folder}/", f"{folder}/{metadata}"

    def __contains__(self, name: object) -> bool:
        text = str(name)
        return text == self._metadata or (
            text.startswith(self._folder) and text.endswith(".jpg") and ".." not in text
        )


def metadata_name(database: str) -> str:
    """Name of a database's .mat file."""
    return f"{database}.mat"


def locate(manual_dir: Path, database: str) -> Path | None:
    """The extracted folder of a database, else its archive; None if both are absent."""
    return sources.locate(manual_dir, f"{database}_crop", SUFFIXES)


def find(manual_dir: Path, database: str) -> Crops:
    """Finds the images of a database: the folder, or if absent the archive, or else downloads it.

    Args:
      manual_dir: folder that holds `wiki_crop/` or `wiki_crop.tar` (`imdb_crop` likewise); a download
        goes there.
      database: one of metadata.DATABASES.

    Raises:
      InputError: the archive cannot be read or downloaded.
    """
    folder = f"{database}_crop"
    found = locate(manual_dir, database)
    if found and found.is_dir():
        beside = sources.archive(manual_dir, folder, SUFFIXES)
        return Crops(sources.Extracted(found.parent, folder, beside), folder)
    path = found or manual_dir / f"{folder}.tar"
    if found is None:
        download.fetch(database, path)
    # A plain tar is read in place; nothing is unpacked into `manual_dir`.
    wanted = _Everything(folder, metadata_name(database))
    archive = archives.read(path, wanted, folder=None)
    notes = {"downloaded": found is None}
    return Crops(sources.Packed(archive, path, download.MD5[database], notes), folder)


def read_metadata(crops: Crops, database: str) -> bytes:
    """Reads a database's .mat file.

    Raises:
      InputError: it is absent or cannot be read.
    """
    name = metadata_name(database)
    try:
        return crops.read(name)
    except images.BadImageError as error:
        raise InputError(f"{crops.where(name)}: {error.reason}") from error
