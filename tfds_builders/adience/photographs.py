"""Images of Adience's faces, from the extracted folder or from the archive as downloaded."""

import dataclasses
from collections.abc import Callable, Iterable
from pathlib import Path

from ageflax.data.building import archives, source
from ageflax.errors import InputError
from tfds_builders import sources

from .fold_files import Face

# The two sets of crops, and the beginnings of their file names.
PREFIXES = {
    "aligned": "landmark_aligned_face",
    "faces": "coarse_tilt_aligned_face",
}
# An archive's name after its folder's.
SUFFIXES = (".tar.gz", ".tgz", ".tar")
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


def locate(manual_dir: Path, folder: Path, config: str) -> Path | None:
    """The folder or archive of a config's images; None if there is none, or several are equally near.

    Args:
      manual_dir: folder of all downloads.
      folder: folder of the fold files, in `manual_dir` or the same.
      config: a key of PREFIXES.
    """
    for folders in ([folder], [manual_dir], sources.folders_in(manual_dir)):
        found = [path for one in folders if (path := sources.locate(one, config, SUFFIXES))]
        if found:
            return found[0] if len(found) == 1 else None
    return None


def find(
    place: source.Place, faces: Iterable[Face], *, config: str, make_folder: Callable[[], Path]
) -> Photographs:
    """Opens the images: the extracted ones, or if absent those in the archive.

    Args:
      place: where `aligned/` or `aligned.tar.gz` is (`faces` likewise).
      faces: faces whose images will be read.
      config: a key of PREFIXES.
      make_folder: makes an empty folder for an archive's content; called only if one is read.

    Raises:
      InputError: both are absent, or the archive cannot be read.
    """
    found, folder = place.images.get(config), place.folder
    if found is None:
        raise InputError(
            f"no images: neither the folder {folder / config} nor the archive "
            f"{folder / config}.tar.gz is there{_instead(folder, config)}"
        )
    if found.is_dir():
        beside = sources.archive(folder, config, SUFFIXES)
        return Photographs(sources.Extracted(found.parent, config, beside), config)
    wanted = {relative_path(face, config) for face in faces}
    archive = archives.read(found, wanted, folder=make_folder())
    return Photographs(sources.Packed(archive, found, ARCHIVE_MD5.get(config)), config)


def _instead(folder: Path, config: str) -> str:
    """Names a file or folders that are there instead of the images; "" if nothing is."""
    other = next((path for path in sorted(folder.glob(f"{config}.*")) if path.is_file()), None)
    if other:
        return f"; {other.name} is there, but only .tar, .tar.gz and .tgz are read: extract it"
    if any(folder.glob(f"*/{PREFIXES[config]}.*")):
        return f"; the albums are in {folder} itself: move them into {folder / config}"
    return ""
