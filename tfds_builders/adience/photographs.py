"""Where the face images come from: the extracted folder, or the archive as it was downloaded."""

import dataclasses
import gzip
import hashlib
import io
import tarfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

from tqdm import tqdm

from ageflax.data import images
from ageflax.errors import InputError, RunError

from .fold_files import Face

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

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
class UnpackedArchive:
    """Images copied out of an archive into a folder of our own, under numbers.

    Attributes:
      folder: where the copies lie.
      numbers: key of each face found to the name of its copy.
      too_large: keys of faces whose member claims more than an image may have.
      origin: the archive, its md5, and whether that is the published one.
    """

    folder: Path
    numbers: dict[str, str]
    too_large: set[str]
    origin: dict[str, str | int | bool | None]

    def read(self, face: Face) -> bytes:
        """The copy's bytes."""
        if face.key in self.too_large:
            raise images.BadImageError("too large")
        if face.key not in self.numbers:
            raise images.BadImageError("absent")
        return images.read(self.folder / self.numbers[face.key])


class _HashedFile(io.RawIOBase):
    """A file that hashes what is read from it, so the archive need not be read twice."""

    def __init__(self, file: BinaryIO, progress: tqdm):
        super().__init__()
        self._file, self._progress = file, progress
        self.md5 = hashlib.md5()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        view = memoryview(buffer)
        content = self._file.read(len(view))
        view[: len(content)] = content
        self.md5.update(content)
        self._progress.update(len(content))
        return len(content)


def _copy_members(
    archive: tarfile.TarFile, wanted: dict[str, str], folder: Path
) -> tuple[dict[str, str], set[str], int]:
    """Copies the wanted members; returns the copies' names, what is too large, how many refused.

    A member counts only under exactly the name expected, so none can choose where it is written,
    and only as a regular file: links and devices are never followed.
    """
    numbers: dict[str, str] = {}
    too_large: set[str] = set()
    refused = 0
    for member in archive:
        key = wanted.get(member.name.removeprefix("./"))
        if not member.isreg():
            refused += not member.isdir()
            continue
        if key is None:
            refused += member.name.startswith("/") or ".." in member.name.split("/")
            continue
        if member.size > images.MAX_BYTES:
            too_large.add(key)
            continue
        source = archive.extractfile(member)
        content = source.read() if source else b""
        # Of two members with one name the later counts, as when tar extracts them.
        number = numbers.setdefault(key, f"{len(numbers):06d}")
        too_large.discard(key)
        try:
            (folder / number).write_bytes(content)
        except OSError as error:
            raise RunError(f"cannot write to {folder}: {error.strerror}") from error
    return numbers, too_large, refused


def unpack(path: Path, faces: Iterable[Face], *, config: str, folder: Path) -> UnpackedArchive:
    """Copies the images of `faces` out of a .tar.gz, in one pass.

    Args:
      path: the archive.
      faces: whose images are wanted; every other member is passed over.
      config: a key of PREFIXES.
      folder: an empty folder for the copies; removing it is the caller's business.

    Raises:
      InputError: not gzip, not tar, truncated or damaged.
      RunError: the copies cannot be written.
    """
    wanted = {relative_path(face, config): face.key for face in faces}
    try:
        with (
            path.open("rb") as file,
            tqdm(
                total=path.stat().st_size,
                desc=f"Unpacking {path.name}",
                unit="B",
                unit_scale=True,
                leave=False,
                disable=None,
            ) as progress,
        ):
            hashed = _HashedFile(file, progress)
            # gzip apart from tar: together ("r|gz") they take a truncated file for a short one.
            with gzip.GzipFile(fileobj=io.BufferedReader(hashed, 1 << 20), mode="rb") as plain:
                with tarfile.open(fileobj=plain, mode="r|") as archive:
                    numbers, too_large, refused = _copy_members(archive, wanted, folder)
                while plain.read(1 << 20):  # to the end: there stands the checksum
                    pass
    except gzip.BadGzipFile as error:
        raise InputError(f"{path}: not a gzip archive, or a damaged one ({error})") from error
    except (EOFError, tarfile.TarError, zlib.error, ValueError, RecursionError) as error:
        raise InputError(
            f"{path}: truncated or damaged ({error}); download the archive again"
        ) from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    md5 = hashed.md5.hexdigest()
    known = ARCHIVE_MD5.get(config)
    origin = {
        "read_from": f"archive {path.name}",
        "archive_md5": md5,
        "archive_md5_is_the_published_one": None if known is None else md5 == known,
        "archive_members_refused": refused,
    }
    return UnpackedArchive(folder, numbers, too_large, origin)


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
        return unpack(archive, faces, config=config, folder=make_folder())
    raise InputError(f"no images: looked for the folder {folder} and for the archive {archive}")
