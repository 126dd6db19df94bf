"""Reads images from .tar and .tar.gz archives in one pass, without extracting them as tar would."""

import contextlib
import dataclasses
import gzip
import hashlib
import io
import tarfile
import zlib
from collections.abc import Callable, Container, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from ageflax.data import images
from ageflax.errors import InputError, RunError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_PIECE = 1 << 20
_BLOCK = 512  # bytes of a tar block; zeroed blocks end an archive
# Bytes of extended headers such as long names, which tarfile reads into memory: limit for one, and for
# the sum of global ones.
_MOST_REMARKS = 1_000_000
# Bytes of a member: tarfile steps to its end by ten kilobytes, even past the end of the file.
_LARGEST = 1 << 34
# First bytes of files that get saved or made instead of a tar.
_KINDS = {
    b"\x1f\x8b": "gzip", b"PK\3\4": "a zip archive", b"BZh": "bzip2", b"\xfd7zXZ": "xz",
    b"7z\xbc\xaf": "a 7z archive", b"Rar!": "a RAR archive", b"<": "a web page",
    b"version https://git-lfs": "a Git LFS pointer",
}  # fmt: skip
_EXTRACT = "; extract it"
_REMEDIES = {
    "a web page": "; log in and download the archive again",
    "a Git LFS pointer": "; fetch the file with git lfs pull",
}
# Limit of decompression, a factor beyond a free gigabyte: photographs hardly shrink, padding does.
_MOST_TIMES, _FREE = 20, 1_000_000_000


@dataclasses.dataclass(frozen=True)
class Archive:
    """The wanted members of an archive. Safe to read from several threads.

    Attributes:
      file: file with the members' bytes: the archive, or the copy made of a compressed one.
      places: name of each member found -> offset and size of its bytes in `file`.
      too_large: names of members that claim more than images.MAX_BYTES.
      md5: checksum of the whole archive.
      refused: number of members skipped as links, devices or paths out of the folder.
      other: name of the first file that is not wanted; "" if there is none.
    """

    file: Path
    places: dict[str, tuple[int, int]]
    too_large: frozenset[str]
    md5: str
    refused: int
    other: str

    def only(self, names: Iterable[str]) -> "Archive":
        """The same archive reduced to some members, small enough to send to a worker."""
        names = set(names)
        places = {name: self.places[name] for name in names & self.places.keys()}
        return dataclasses.replace(self, places=places, too_large=self.too_large & names)

    def read(self, name: str) -> bytes:
        """Reads a member's bytes.

        Raises:
          images.BadImageError: absent, unreadable, empty, too large or truncated.
        """
        if name in self.too_large:
            raise images.BadImageError("too large")
        if name not in self.places:
            raise images.BadImageError("absent")
        start, size = self.places[name]
        if not size:
            raise images.BadImageError("empty")
        try:
            with self.file.open("rb", buffering=0) as file:
                file.seek(start)
                content = file.read(size)
        except OSError as error:
            raise images.BadImageError("unreadable") from error
        if len(content) < size:  # the file has shrunk since the archive was read
            raise images.BadImageError("truncated")
        return content


class _Member(tarfile.TarInfo):
    """A member header of bounded size; tarfile's own has no bounds."""

    def _proc_member(self, tarfile_: tarfile.TarFile) -> Any:  # tarfile's own hook
        if not 0 <= self.size <= _LARGEST:
            raise tarfile.ReadError(f"a member of {self.size} bytes")
        if self.type in (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.XGLTYPE,
                         tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK):  # fmt: skip
            before = getattr(tarfile_, "read_so_far", 0) if self.type == tarfile.XGLTYPE else 0
            if self.size + before > _MOST_REMARKS:
                raise tarfile.ReadError("a name or extended header of more than a megabyte")
            if self.type == tarfile.XGLTYPE:
                tarfile_.read_so_far = before + self.size  # pyright: ignore[reportAttributeAccessIssue]
        try:
            return super()._proc_member(tarfile_)  # pyright: ignore[reportAttributeAccessIssue]
        except (OverflowError, ValueError) as error:  # lengths in a header, which tarfile trusts
            raise tarfile.ReadError(f"an extended header that cannot be read ({error})") from error

    def _refuse(self, *_: Any) -> Any:
        raise tarfile.ReadError("a sparse member")

    # tarfile reads sparse maps of any length, in time that grows with its square.
    _proc_sparse = _proc_gnusparse_00 = _proc_gnusparse_01 = _proc_gnusparse_10 = _refuse


class _Inflated(gzip.GzipFile):
    """A compressed file whose content may be at most so many times as large."""

    def __init__(self, file: io.BufferedReader, size: int):
        super().__init__(fileobj=file, mode="rb")
        self._left = _FREE + _MOST_TIMES * size

    def read(self, size: int | None = -1) -> bytes:
        content = super().read(size)
        self._left -= len(content)
        if self._left < 0:
            raise tarfile.ReadError(f"it inflates to more than {_MOST_TIMES} times its size")
        return content


class _HashedFile(io.RawIOBase):
    """A file that hashes the bytes read from it, which saves a second pass over the archive."""

    def __init__(self, file: io.BufferedReader, progress: tqdm):
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


class _Copy:
    """One file for the members of a compressed archive, written one after the other."""

    def __init__(self, path: Path):
        self.path = path
        self._file = path.open("wb")
        self._end = 0

    def append(self, source: Any) -> int:
        """Copies one member; returns its offset."""
        start = self._end
        while piece := source.read(_PIECE):
            try:
                self._file.write(piece)
            except OSError as error:
                raise self._full(error) from error
            self._end += len(piece)
        return start

    def close(self) -> None:
        try:
            self._file.close()
        except OSError as error:  # no room for the last buffered bytes
            raise self._full(error) from error

    def _full(self, error: OSError) -> RunError:
        return RunError(f"cannot write to {self.path.parent}: {error.strerror}")


def _find(archive: tarfile.TarFile, wanted: Container[str], copy: _Copy | None) -> dict[str, Any]:
    """Goes through an archive once; returns `places`, `too_large`, `refused` and `other` of Archive.

    A member counts only under exactly the expected name, so none can choose where it is written,
    and only as a regular file: links and devices are never followed.
    """
    places: dict[str, tuple[int, int]] = {}
    too_large: set[str] = set()
    refused, other = 0, ""
    while (member := archive.next()) is not None:
        # tarfile would keep all members, a kilobyte each. The attribute is not in its stubs.
        archive.members = []  # pyright: ignore[reportAttributeAccessIssue]
        name = member.name.removeprefix("./")
        if not member.isreg() or member.issparse():
            refused += not member.isdir()
        elif name not in wanted:
            refused += member.name.startswith("/") or ".." in member.name.split("/")
            other = other or name
        elif member.size > images.MAX_BYTES:
            too_large.add(name)
        else:
            # The later of two members with one name counts, as when tar extracts them.
            too_large.discard(name)
            start = member.offset_data
            if copy and (source := archive.extractfile(member)):
                start = copy.append(source)
            places[name] = start, member.size
    return {
        "places": places,
        "too_large": frozenset(too_large),
        "refused": refused,
        "other": other,
    }


@contextlib.contextmanager
def _hashed(path: Path) -> Iterator[tuple[_HashedFile, io.BufferedReader]]:
    """Opens a file, hashed as it is read, with a progress bar on a terminal."""
    with (
        path.open("rb") as file,
        tqdm(
            total=path.stat().st_size,
            desc=f"Reading {path.name}",
            unit="B",
            unit_scale=True,
            leave=False,
            disable=None,
        ) as progress,
    ):
        hashed = _HashedFile(file, progress)
        yield hashed, io.BufferedReader(hashed, _PIECE)


def _read_to_the_end(file: io.BufferedReader | gzip.GzipFile) -> None:
    while file.read(_PIECE):
        pass


def _ends_as_tar_does(path: Path) -> bool:
    """True if the last block is zeroed; it is not in an archive cut between members."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _BLOCK))
        return not file.read(_BLOCK).strip(b"\0")


def _read_plain(path: Path, wanted: Container[str]) -> Archive:
    with _hashed(path) as (hashed, file):
        with tarfile.open(fileobj=file, mode="r|", tarinfo=_Member) as archive:
            found = _find(archive, wanted, None)
        _read_to_the_end(file)
    if not _ends_as_tar_does(path):
        raise tarfile.ReadError("it lacks its end")
    return Archive(path, md5=hashed.md5.hexdigest(), **found)


def _read_compressed(path: Path, wanted: Container[str], copy: _Copy | None) -> Archive:
    # gzip apart from tar: together ("r|gz") they accept a truncated file as a short one.
    with (
        contextlib.closing(copy) if copy else contextlib.nullcontext(),
        _hashed(path) as (hashed, file),
        _Inflated(file, path.stat().st_size) as plain,
    ):
        with tarfile.open(fileobj=plain, mode="r|", tarinfo=_Member) as archive:
            found = _find(archive, wanted, copy)
        _read_to_the_end(plain)  # the checksum is there
    read_from = copy.path if copy else path
    return Archive(read_from, md5=hashed.md5.hexdigest(), **found)


def _kind(path: Path) -> str:
    """Kind of a file by its first bytes, whatever its name: "gzip", another kind, or "" for a tar."""
    with path.open("rb") as file:
        start = file.read(_BLOCK)
    if start[257:262] == b"ustar":
        return ""
    return next((kind for magic, kind in _KINDS.items() if start.lstrip().startswith(magic)), "")


def _copies(path: Path, folder: Path) -> _Copy:
    try:
        return _Copy(folder / f"{path.name}.members")
    except OSError as error:
        raise RunError(f"cannot write to {folder}: {error.strerror}") from error


def _scanned(path: Path, wanted: Container[str], compressed: Callable[[], Archive]) -> Archive:
    """Goes through an archive; `compressed` does so if it is gzip."""
    try:
        if path.exists() and not path.is_file():
            raise InputError(f"{path}: not a file")
        kind = _kind(path)
        if kind == "gzip":
            return compressed()
        if kind:
            raise InputError(f"{path}: {kind}, not a tar archive{_REMEDIES.get(kind, _EXTRACT)}")
        return _read_plain(path, wanted)
    except (
        EOFError, gzip.BadGzipFile, tarfile.TarError, zlib.error, ValueError, RecursionError
    ) as error:  # fmt: skip
        raise InputError(
            f"{path}: truncated or damaged ({error}); download the archive again"
        ) from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error


def read(path: Path, wanted: Container[str], *, folder: Path | None) -> Archive:
    """Finds members of an archive in one pass.

    A plain .tar is read in place. The members of a compressed one are copied, because nothing in it can
    be read without everything before.

    Args:
      path: archive; compressed or not, whatever its name.
      wanted: exact names, without a leading "./"; other members are skipped. Asked once per member, so
        better a set than a list.
      folder: folder for the copies, which the caller removes; None refuses a compressed archive.

    Raises:
      InputError: neither tar nor gzip, truncated or damaged.
      RunError: the copies cannot be written.
    """

    def compressed() -> Archive:
        if folder is None:
            raise InputError(f"{path}: compressed by gzip; decompress it")
        return _read_compressed(path, wanted, _copies(path, folder))

    return _scanned(path, wanted, compressed)


def sizes(path: Path, wanted: Container[str]) -> dict[str, int]:
    """Bytes of an archive's wanted members by name, in one pass that copies nothing.

    Raises:
      InputError: as `read`.
    """
    found = _scanned(path, wanted, lambda: _read_compressed(path, wanted, None))
    return {name: size for name, (_, size) in found.places.items()}
