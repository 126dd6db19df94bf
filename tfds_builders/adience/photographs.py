"""Images of Adience's faces, from the extracted folder or from the archive as downloaded."""

import dataclasses
from collections.abc import Callable, Iterable
from pathlib import Path

from ageflax.data.building import archives
from ageflax.errors import InputError
from tfds_builders import sources

from .fold_files import Face

# The two sets of crops, and the beginnings of their file names.
PREFIXES = {
    "aligned": "landmark_aligned_face",
    "faces": "coarse_tilt_aligned_face",
}
# md5 of the archives on the authors' server, where known.
ARCHIVE_MD5 = {"aligned": "bf8336d576433f0143828925eadbe23f"}


def relative_path(face: Face, config: str) -> str:
    """Path of a face's image below the folder of fold files."""
    file_name = f"{PREFIXES[config]}.{face.face_id}.{face.original_image}"
    return f"{config}/{face.user_id}/{file_name}"


@dataclasses.dataclass(frozen=True)
class Photographs:
    """Images of faces.

    Attributes:
      source: files of the images.
      config: a key of PREFIXES.
    """

    source: sources.Source
    config: str

    def read(self, face: Face) -> bytes:
        """Reads a face's image.

        Raises:
          images.BadImageError: absent, unreadable, empty or too large.
        """
        return self.source.read(relative_path(face, self.config))


def find(
    manual_dir: Path, faces: Iterable[Face], *, config: str, make_folder: Callable[[], Path]
) -> Photographs:
    """Finds the images below a folder: the extracted ones, or if absent those in the archive.

    Args:
      manual_dir: folder that holds `aligned/` or `aligned.tar.gz` (`faces` likewise).
      faces: faces whose images will be read.
      config: a key of PREFIXES.
      make_folder: makes an empty folder for an archive's content; called only if one is read.

    Raises:
      InputError: both are absent, or the archive cannot be read.
    """
    folder, path = manual_dir / config, manual_dir / f"{config}.tar.gz"
    if folder.is_dir():
        return Photographs(sources.Extracted(manual_dir, config, path.name), config)
    if path.is_file():
        wanted = {relative_path(face, config) for face in faces}
        archive = archives.read(path, wanted, folder=make_folder())
        return Photographs(sources.Packed(archive, path, ARCHIVE_MD5.get(config)), config)
    raise InputError(f"no images: neither the folder {folder} nor the archive {path} is there")
