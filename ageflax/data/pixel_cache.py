"""Decoded images and tables of labels, kept beside a dataset: the next start decodes nothing.

They lie in `prepared/` of the dataset's version folder, and go when that is removed or built anew. A
file's name has a hash of all that its content depends on, so that none is ever out of date: the
dataset's own files (names, sizes, times of change), and of pixels the decoding too (size,
interpolation, the decoders' versions, the code). A file is there whole or not at all, and is checked,
to the last byte of its pixels, before it is used.
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
_PAGE = 4096  # pixels start on a page's edge, as memory mapping likes it
_MOST_HEADER = 1 << 30  # of a damaged length, no more is read
_PIECE = 1 << 24  # bytes under one checksum
# Left free on the disk, beside what is written.
_SPARE = 1 << 30
# Not touched for so many seconds, a file in writing is one that a killed process left.
_ABANDONED = 600

Say = Callable[[str], None]
_TEXT = ("keys", "subjects", "age_labels")
_NUMBERS = {"folds": np.int32, "ages": np.float32, "genders": np.int32, "scores": np.float32}


class _DamagedError(Exception):
    """A kept file that cannot be used, and why."""


def _short(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


def _of_data(dataset: StoredDataset) -> str:
    """Hash of what a dataset's files are, without reading their gigabytes."""
    paths = sorted(path for path in dataset.path.iterdir() if path.is_file())
    found = [(path.name, path.stat()) for path in paths]
    of_files = [(name, status.st_size, status.st_mtime_ns) for name, status in found]
    info = (dataset.path / "dataset_info.json").read_bytes()
    return _short(of_files, info, Path(reading.__file__).with_name("dataset.py").read_bytes())


def _of_decoding(decoding: reading.Decoding) -> str:
    """Hash of what makes pixels of bytes: the same inputs give the same bits."""
    libraries = [features.version(name) for name in ("jpg", "libjpeg_turbo", "webp", "zlib")]
    versions = Image.__version__, cv2.__version__, libraries, platform.machine()
    code = [Path(module.__file__ or "").read_bytes() for module in (images, reading)]
    return _short(versions, decoding, code)


@dataclasses.dataclass(frozen=True)
class _Kept:
    """Where a dataset's prepared files lie, for one decoding.

    Attributes:
      labels: the table.
      pixels: None where only labels are wanted.
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
        """Files of other data, or of the same decoding by other decoders."""
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
        read = {name: np.array(columns[name], dtype=object) for name in _TEXT}
        read |= {name: np.array(columns[name], kind) for name, kind in _NUMBERS.items()}
        faces = Faces(**read)
        sound = all(values.shape == (count,) for values in read.values())
        if not sound or faces.fingerprint != columns["fingerprint"]:
            raise _DamagedError("its content is not what was written")
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise _DamagedError("it cannot be parsed") from error
    return faces


def _labels(faces: Faces) -> bytes:
    columns = {name: getattr(faces, name).tolist() for name in (*_TEXT, *_NUMBERS)}
    return json.dumps({**columns, "fingerprint": faces.fingerprint}).encode()


def _checksums(pixels: np.ndarray) -> list[int]:
    """CRC-32 of each piece, on all cores."""
    flat: Any = memoryview(pixels.reshape(-1))  # pyright: ignore[reportArgumentType]  arrays are buffers
    pieces = [flat[start : start + _PIECE] for start in range(0, len(flat), _PIECE)]
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return list(pool.map(zlib.crc32, pieces))


def _header(pixels: np.ndarray, unreadable: dict[int, str]) -> bytes:
    """Magic, length of all before the pixels, and what they are; padded to whole pages."""
    described = {
        "shape": list(pixels.shape),
        "unreadable": list(unreadable.items()),
        "checksums": _checksums(pixels),
    }
    text = json.dumps(described).encode()
    length = -(-(len(_MAGIC) + 8 + len(text)) // _PAGE) * _PAGE
    return (_MAGIC + length.to_bytes(8, "little") + text).ljust(length)


def _read_pixels(path: Path, count: int, size: int) -> tuple[np.ndarray, dict[int, str]]:
    """The pixels, memory-mapped, and the rows that did not decode."""
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
    """Writes a file whole; False where another process is at it.

    Raises:
      OSError: the folder or the disk does not take it; nothing is left of it.
    """
    partial = path.with_name(f"{path.name}.partial")
    path.parent.mkdir(exist_ok=True)
    try:
        file = partial.open("xb")
    except FileExistsError:
        # Of a future time where the clock was set back since.
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
    """Writes what is not there yet; where that is not possible, says so and changes nothing else."""
    try:
        if not kept.labels.exists():
            _write(kept.labels, [_labels(loaded.faces)])
        pixels = loaded.pixels
        if pixels is not None and kept.pixels is not None and not kept.pixels.exists():
            free = shutil.disk_usage(kept.pixels.parent).free
            if free < pixels.nbytes + _SPARE:
                say(
                    f"decoded images are not kept: they take {pixels.nbytes / 1e9:.1f} GB of the"
                    f" {free / 1e9:.1f} GB free at {kept.pixels.parent}, where 1 GB is left; every"
                    " start decodes them anew"
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
            f"{kept.labels.parent}: {error.strerror or error}: nothing is kept there, and every start"
            " reads and decodes anew"
        )


def _try(read: Callable[[], Any], path: Path, say: Say) -> Any:
    """What is read, or None: of no file, or of a damaged one, which is removed."""
    try:
        return read()
    except FileNotFoundError:
        return None
    except (OSError, _DamagedError, MemoryError) as error:
        why = getattr(error, "strerror", None) or error
        say(f"{path} is damaged ({why}) and is made anew")
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
    """As pipeline.load, from the files of an earlier start where they are there; else they are made.

    Pixels are then memory-mapped and read-only, and processes that train at once share them. They are
    the same, bit for bit, as those decoded anew.

    Args:
      dataset: what to read.
      decoding: None reads labels only.
      progress: called with the number of faces each finished piece held.
      say: takes lines for the user, of damage, a full disk, or a folder that cannot be written to.
    """
    kept, count = _Kept.of(dataset, decoding), len(dataset)
    faces = _try(lambda: _read_labels(kept.labels, count), kept.labels, say)
    found: tuple[np.ndarray | None, dict[int, str]] | None = (None, {})
    if decoding is not None and kept.pixels is not None:
        path, size = kept.pixels, decoding.size
        found = None
        if faces is not None:
            found = _try(lambda: _read_pixels(path, count, size), path, say)
    if faces is not None and found is not None:
        progress(count)
        return reading.LoadedFaces(faces, *found)
    loaded = reading.load(dataset, decoding, progress=progress)
    _keep(kept, loaded, say)
    return loaded
