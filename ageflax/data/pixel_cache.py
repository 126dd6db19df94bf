"""Cache of decoded images and label tables beside a dataset: the next start decodes nothing.

The files lie in `prepared/` of the dataset's version folder, and go when that is removed or rebuilt. A
file's name has a hash of everything its content depends on, so none is ever out of date: the dataset's
own files (names, sizes, times of change) and, for pixels, the decoding (size, interpolation, versions
of the decoders, our code). Files are written whole or not at all, and checked to the last byte of
their pixels before use.
"""

import dataclasses
import hashlib
import json
import mmap
import os
import platform
import shutil
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, features

from ageflax.data import images, reading
from ageflax.data.dataset import Faces, StoredDataset

FOLDER = "prepared"
_MAGIC = b"ageflax pixels 1"
_PAGE = 4096  # pixels start on a page's edge, which suits memory mapping
_MOST_HEADER = 1 << 30  # bound on a damaged length
_PIECE = 1 << 24  # bytes per checksum
_SPARE = 1 << 30  # bytes to leave free on the disk
_ABANDONED = 600  # seconds untouched after which a partial file is a killed process's

Say = Callable[[str], None]
_COLUMNS = {
    "keys": object, "subjects": object, "age_labels": object, "folds": np.int32, "ages": np.float32,
    "genders": np.int32, "scores": np.float32,
}  # fmt: skip


class _DamagedError(Exception):
    """A damaged file of the cache; the message says why."""


def _short(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


def _of_data(dataset: StoredDataset) -> str:
    """Hash of a dataset's files, by name, size and time: reading gigabytes would take too long."""
    paths = sorted(path for path in dataset.path.iterdir() if path.is_file())
    found = [(path.name, path.stat()) for path in paths]
    of_files = [(name, status.st_size, status.st_mtime_ns) for name, status in found]
    info = (dataset.path / "dataset_info.json").read_bytes()
    return _short(of_files, info, Path(reading.__file__).with_name("dataset.py").read_bytes())


def _of_decoding(decoding: reading.Decoding) -> str:
    """Hash of everything that decides the decoded bits: libraries, settings, our code."""
    libraries = [features.version(name) for name in ("jpg", "libjpeg_turbo", "webp", "zlib")]
    versions = Image.__version__, cv2.__version__, libraries, platform.machine()
    code = [Path(module.__file__ or "").read_bytes() for module in (images, reading)]
    return _short(versions, decoding, code)


@dataclasses.dataclass(frozen=True)
class _Kept:
    """Paths of a dataset's cached files, for one decoding.

    Attributes:
      labels: label table.
      pixels: decoded images; None if only labels are wanted.
    """

    labels: Path
    pixels: Path | None

    @classmethod
    def of(cls, dataset: StoredDataset, decoding: reading.Decoding | None) -> "_Kept":
        folder, data = dataset.path / FOLDER, _of_data(dataset)
        labels = folder / f"labels-{data}.json"
        if decoding is None:
            return cls(labels, None)
        seen = f"{decoding.size}-{decoding.interpolation}"
        return cls(labels, folder / f"pixels-{seen}-{data}-{_of_decoding(decoding)}.bin")

    def outdated(self) -> Iterator[Path]:
        """Finds files of other data, or of the same decoding by other decoders."""
        folder, (_, data) = self.labels.parent, self.labels.stem.split("-")
        for path in folder.glob("labels-*.json"):
            if path != self.labels:
                yield path
        for path in folder.glob("pixels-*-*-*-*.bin"):
            seen, of_data = path.stem.split("-")[1:3], path.stem.split("-")[3]
            same = self.pixels is not None and seen == self.pixels.stem.split("-")[1:3]
            if of_data != data or (same and path != self.pixels):
                yield path


def _read_labels(path: Path, count: int) -> Faces:
    try:
        columns = json.loads(path.read_bytes())
        read = {name: np.array(columns[name], kind) for name, kind in _COLUMNS.items()}
        faces = Faces(**read)
        sound = all(values.shape == (count,) for values in read.values())
        if not sound or faces.fingerprint != columns["fingerprint"]:
            raise _DamagedError("its content is not what was written")
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise _DamagedError("it cannot be parsed") from error
    return faces


def _labels(faces: Faces) -> bytes:
    columns = {name: getattr(faces, name).tolist() for name in _COLUMNS}
    return json.dumps({**columns, "fingerprint": faces.fingerprint}).encode()


def _checksums(pixels: np.ndarray) -> list[int]:
    """CRC-32 of each piece, computed on all cores."""
    flat: Any = memoryview(pixels.reshape(-1))  # pyright: ignore[reportArgumentType]  arrays are buffers
    pieces = [flat[start : start + _PIECE] for start in range(0, len(flat), _PIECE)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(zlib.crc32, pieces))


def _header(pixels: np.ndarray, unreadable: dict[int, str]) -> bytes:
    """Everything before the pixels: magic, its own length, a JSON description; padded to whole pages."""
    described = {
        "shape": list(pixels.shape),
        "unreadable": list(unreadable.items()),
        "checksums": _checksums(pixels),
    }
    text = json.dumps(described).encode()
    length = -(-(len(_MAGIC) + 8 + len(text)) // _PAGE) * _PAGE
    return (_MAGIC + length.to_bytes(8, "little") + text).ljust(length)


def _read_pixels(path: Path, count: int, size: int) -> tuple[np.ndarray, dict[int, str]]:
    """Maps the pixels into memory; gives them and the rows that did not decode."""
    shape = (count, size, size, 3)
    with path.open("rb") as file:
        start = file.read(len(_MAGIC) + 8)
        length = int.from_bytes(start[len(_MAGIC) :], "little")
        if not start.startswith(_MAGIC) or not len(start) < length <= _MOST_HEADER:
            raise _DamagedError("its header is not what was written")
        expected, found = length + count * size * size * 3, os.fstat(file.fileno()).st_size
        if found != expected:
            raise _DamagedError(f"it has {found} bytes, not {expected}")
        try:
            described: dict[str, Any] = json.loads(file.read(length - len(start)))
            same = tuple(described["shape"]) == shape
            unreadable = {int(row): str(reason) for row, reason in described["unreadable"]}
            checksums = described["checksums"]
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise _DamagedError("its header is not what was written") from error
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    pixels = np.frombuffer(mapped, np.uint8, offset=length).reshape(shape)
    rows_known = all(0 <= row < count for row in unreadable)
    if not same or not rows_known or _checksums(pixels) != checksums:
        raise _DamagedError("its content is not what was written")
    return pixels, unreadable


def _write(path: Path, parts: list[Any]) -> bool:
    """Writes a file whole or not at all; False if another process is writing it.

    Raises:
      OSError: the folder or the disk refuses the file.
    """
    partial = path.with_name(f"{path.name}.partial")
    path.parent.mkdir(exist_ok=True)
    try:
        file = partial.open("xb")
    except FileExistsError:
        # The time lies in the future if the clock was set back since.
        if abs(time.time() - partial.stat().st_mtime) < _ABANDONED:
            return False
        partial.unlink(missing_ok=True)
        file = partial.open("xb")
    try:
        with file:
            for part in parts:
                view = memoryview(part)
                for start in range(0, len(view), _PIECE):
                    file.write(view[start : start + _PIECE])
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    return True


def _keep(kept: _Kept, loaded: reading.LoadedFaces, say: Say) -> None:
    """Writes missing files and removes outdated ones; a full or read-only disk is only reported."""
    try:
        if not kept.labels.exists():
            _write(kept.labels, [_labels(loaded.faces)])
        pixels = loaded.pixels
        if pixels is not None and kept.pixels is not None and not kept.pixels.exists():
            free = shutil.disk_usage(kept.pixels.parent).free
            if free < pixels.nbytes + _SPARE:
                say(
                    f"decoded images are not kept: they need {pixels.nbytes / 1e9:.1f} GB and 1 GB to"
                    f" spare, {free / 1e9:.1f} GB are free at {kept.pixels.parent}; every start decodes"
                    " them again"
                )
                return
            parts = [_header(pixels, loaded.unreadable), pixels.reshape(-1)]
            if _write(kept.pixels, parts) and pixels.nbytes >= 1e8:
                say(
                    f"decoded images are kept for the next start: {kept.pixels},"
                    f" {pixels.nbytes / 1e9:.1f} GB; data.prepared=false keeps none"
                )
        for path in kept.outdated():
            path.unlink(missing_ok=True)
    except OSError as error:
        say(
            f"{kept.labels.parent}: {error.strerror or error}: nothing is kept there; every start reads"
            " and decodes again"
        )


def _try(read: Callable[[], Any], path: Path, say: Say) -> Any:
    """Result of `read`; None if the file is absent or damaged. A damaged one is removed."""
    try:
        return read()
    except FileNotFoundError:
        return None
    except (OSError, _DamagedError, MemoryError) as error:
        why = getattr(error, "strerror", None) or error
        say(f"{path} is damaged ({why}) and is made again")
        try:
            path.unlink(missing_ok=True)
        except OSError:
            say(f"{path} cannot be removed")
    return None


def load(
    dataset: StoredDataset,
    decoding: reading.Decoding | None,
    *,
    progress: Callable[[int], None] = lambda done: None,
    say: Say = lambda line: None,
) -> reading.LoadedFaces:
    """Loads like reading.load, from the files of an earlier start if there are any, and else makes them.

    Cached pixels are memory-mapped, read-only, shared by processes that train at once, and equal to
    freshly decoded ones bit for bit.

    Args:
      dataset: dataset to read.
      decoding: None reads labels only.
      progress: called with the number of faces in each finished chunk.
      say: receives lines for the user about damage, a full disk, or a read-only folder.
    """
    kept, count = _Kept.of(dataset, decoding), len(dataset)
    faces = _try(lambda: _read_labels(kept.labels, count), kept.labels, say)
    found: tuple[np.ndarray | None, dict[int, str]] | None = (None, {})
    if faces is not None and decoding is not None and (path := kept.pixels):
        found = _try(lambda: _read_pixels(path, count, decoding.size), path, say)
    if faces is not None and found is not None:
        progress(count)
        return reading.LoadedFaces(faces, *found)
    loaded = reading.load(dataset, decoding, progress=progress)
    _keep(kept, loaded, say)
    return loaded
