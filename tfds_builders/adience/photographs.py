"""Where the face images come from: the extracted folder, or the archive as it was downloaded."""

import dataclasses
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from ageflax.data import images
from ageflax.data.building import archives
from ageflax.errors import InputError

from .fold_files import Face

# The two sets of crops, and how their files' names begin.
PREFIXES = {
    "aligned": "landmark_aligned_face",
    "faces": "coarse_tilt_aligned_face",
}
# md5 of the archives as the authors' server gives them, where one is known.
ARCHIVE_MD5 = {"aligned": "bf8336d576433f0143828925eadbe23f"}


class Photographs(Protocol):
    """Bytes of the image of a face."""

    @property
    def origin(self) -> dict[str, str | int | bool | None]:
        """What the images were read from, for the dataset's metadata."""
        ...

    def read(self, face: Face) -> bytes:
        """The image's bytes as they are in the source.

        Raises:
          images.BadImageError: absent, unreadable, empty or too large.
        """
        ...


def relative_path(face: Face, config: str) -> str:
    """Path of a face's image below the folder that holds the fold files."""
    file_name = f"{PREFIXES[config]}.{face.face_id}.{face.original_image}"
    return f"{config}/{face.user_id}/{file_name}"


@dataclasses.dataclass(frozen=True)
class ExtractedFolder:
    """Images read from the folder that the archive was extracted to."""

    manual_dir: Path
    config: str

    @property
    def origin(self) -> dict[str, str | int | bool | None]:
        """Names the folder, and says whether an archive lies beside it."""
        archive = self.manual_dir / f"{self.config}.tar.gz"
        return {"read_from": f"folder {self.config}", "archive_not_read": archive.is_file()}

    def read(self, face: Face) -> bytes:
        """The file's bytes."""
        return images.read(self.manual_dir / relative_path(face, self.config))


@dataclasses.dataclass(frozen=True)
class PackedImages:
    """Images read out of the archive."""

    archive: archives.Archive
    path: Path
    config: str

    @property
    def origin(self) -> dict[str, str | int | bool | None]:
        """The archive, its md5, and whether that is the published one."""
        known = ARCHIVE_MD5.get(self.config)
        return {
            "read_from": f"archive {self.path.name}",
            "archive_md5": self.archive.md5,
            "archive_md5_is_the_published_one": (
                None if known is None else self.archive.md5 == known
            ),
            "archive_members_refused": self.archive.refused,
        }

    def read(self, face: Face) -> bytes:
        """The member's bytes."""
        return self.archive.read(relative_path(face, self.config))


def find(
    manual_dir: Path, faces: Iterable[Face], *, config: str, make_folder: Callable[[], Path]
) -> Photographs:
    """The images below a folder: extracted ones if they are there, else those in the archive.

    Args:
      manual_dir: holds `aligned/` or `aligned.tar.gz` (`faces` likewise).
      faces: whose images will be read.
      config: a key of PREFIXES.
      make_folder: makes an empty folder for an archive's content; called only if one is read.

    Raises:
      InputError: neither is there, or the archive cannot be read.
    """
    folder, archive = manual_dir / config, manual_dir / f"{config}.tar.gz"
    if folder.is_dir():
        return ExtractedFolder(manual_dir, config)
    if archive.is_file():
        wanted = {relative_path(face, config) for face in faces}
        return PackedImages(archives.read(archive, wanted, folder=make_folder()), archive, config)
    raise InputError(f"no images: looked for the folder {folder} and for the archive {archive}")
