"""Reads PyTorch's .pth files, in both containers, without running any of their code.

References: PyTorch, torch/serialization.py: _save and _legacy_save.
"""

import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np

from ageflax.errors import InputError
from ageflax.weights.formats import pytorch_pickle
from ageflax.weights.formats.files import check_name, opened
from ageflax.weights.formats.pytorch_pickle import Storage, Tensor

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_DIRECTORY = 4_000_000  # bytes of an archive's directory; a thousand tensors take 100,000
# Keys under which checkpoints keep their weights, in order of preference.
_PARTS = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "weights")

# Errors that zipfile and NumPy raise for damaged files.
_DAMAGE = (
    zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError, struct.error, IndexError,
    OverflowError,
)  # fmt: skip
_BIG_ENDIAN = "big-endian numbers, which are not supported"

_Read = Callable[[Storage], bytes]


class _Bounded:
    """A file that reads at most `most` bytes at once, whatever an archive claims."""

    def __init__(self, file: BinaryIO):
        self._file, self.most = file, _DIRECTORY

    def read(self, size: int = -1) -> bytes:
        if size > self.most:
            raise zipfile.BadZipFile("a directory of more than 4 MB")
        return self._file.read(size)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def _dtype(storage: Storage) -> np.dtype:
    return np.dtype(ml_dtypes.bfloat16 if storage.dtype == "bfloat16" else storage.dtype)


def _damaged(path: Path, key: str) -> InputError:
    return InputError(f"{path}: cut short or damaged: storage {key[:40]!r}")


def _entry(archive: zipfile.ZipFile, name: str, path: Path) -> zipfile.ZipInfo:
    info = archive.NameToInfo.get(name)
    if info is None:
        raise InputError(f"{path}: cut short or damaged: {name[:80]!r} is not in it")
    if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
        raise InputError(f"{path}: refused: {name[:80]!r} is compressed, which PyTorch never does")
    if info.flag_bits & 1:
        raise InputError(f"{path}: {name[:80]!r} is encrypted")
    return info


def _zipped(path: Path, file: BinaryIO, size: int) -> tuple[Any, _Read]:
    """Value of an archive's pickle, and a function that reads a storage."""
    bounded = _Bounded(file)
    archive = zipfile.ZipFile(bounded)  # pyright: ignore[reportArgumentType, reportCallIssue]
    bounded.most = size
    pickles = [name for name in archive.NameToInfo if name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise InputError(f"{path}: a zip archive without data.pkl, so not PyTorch's weights")
    folder = pickles[0].removesuffix("data.pkl")
    if f"{folder}constants.pkl" in archive.NameToInfo:
        raise InputError(
            f"{path}: a TorchScript program, not weights; save its state_dict() with torch"
        )
    if f"{folder}byteorder" in archive.NameToInfo:
        order = _entry(archive, f"{folder}byteorder", path)
        if order.file_size != 6 or archive.read(order) != b"little":
            raise InputError(f"{path}: {_BIG_ENDIAN}")
    info = _entry(archive, pickles[0], path)
    if info.file_size > min(pytorch_pickle.LARGEST, size):
        raise InputError(f"{path}: refused: a pickle of {info.file_size} bytes")
    value, _ = pytorch_pickle.read(archive.read(info), str(path))

    def read(storage: Storage) -> bytes:
        found = _entry(archive, f"{folder}data/{storage.key}", path)
        # Before reading: an archive may claim any length for a short file.
        if found.file_size != storage.count * _dtype(storage).itemsize or found.file_size > size:
            raise _damaged(path, storage.key)
        return archive.read(found)

    return value, read


def _legacy(path: Path, file: BinaryIO, size: int) -> tuple[Any, _Read]:
    """Like `_zipped`, for the container before 1.6: pickles, then count and bytes of each storage."""
    start = file.read(pytorch_pickle.LARGEST)
    at, values = 0, []
    for _ in range(5):
        value, length = pytorch_pickle.read(start[at:], str(path))
        at += length
        values.append(value)
        if len(values) == 1 and values[0] != _MAGIC:
            raise InputError(f"{path}: a pickle, but none of PyTorch's weights; not read further")
    _, protocol, system, value, keys = values
    if protocol != _PROTOCOL or not isinstance(system, dict) or not isinstance(keys, list):
        raise InputError(f"{path}: cut short or damaged: its first pickles are not PyTorch's")
    if system.get("little_endian") is not True:
        raise InputError(f"{path}: {_BIG_ENDIAN}")
    places = {}
    counts = {storage.key: storage for storage in _storages(value)}
    for key in keys:
        if not isinstance(key, str) or key not in counts or key in places:
            raise InputError(f"{path}: cut short or damaged: list of storages")
        file.seek(at)
        stored = struct.unpack("<q", file.read(8).ljust(8, b"\xff"))[0]
        length = counts[key].count * _dtype(counts[key]).itemsize
        if stored != counts[key].count or at + 8 + length > size:
            raise _damaged(path, key)
        places[key] = at + 8
        at += 8 + length

    def read(storage: Storage) -> bytes:
        if storage.key not in places:
            raise _damaged(path, storage.key)
        file.seek(places[storage.key])
        return file.read(storage.count * _dtype(storage).itemsize)

    return value, read


def _storages(value: Any) -> list[Storage]:
    """Storages of all tensors in a pickled value."""
    found, waiting, seen = {}, [value], set()
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, Tensor):
            found[id(one.storage)] = one.storage
        elif isinstance(one, dict):
            waiting += one.values()
        elif isinstance(one, list | tuple):
            waiting += one
    return list(found.values())


def _state(value: Any, path: Path) -> dict[str, Tensor]:
    """Finds the weights in a checkpoint: the whole of it, or one of _PARTS."""
    for _ in range(3):
        if not isinstance(value, dict):
            break
        tensors = {n: v for n, v in value.items() if isinstance(v, Tensor) and isinstance(n, str)}
        for name in tensors:
            check_name(name, path)
        if len(tensors) > 1:
            return tensors
        value = next((value[n] for n in _PARTS if isinstance(value.get(n), dict)), None)
    raise InputError(
        f"{path}: no weights by name, neither at the top nor under {', '.join(_PARTS)}"
    )


def _array(tensor: Tensor, values: np.ndarray, name: str, path: Path) -> np.ndarray:
    """View of a storage's values as one tensor."""
    count, last = 1, tensor.offset
    for side, stride in zip(tensor.shape, tensor.strides, strict=True):
        count *= side
        last += (side - 1) * stride
    if not count:
        return np.zeros(0, values.dtype)  # no weights have such a shape
    if last >= len(values) or count > len(values):
        raise InputError(f"{path}: damaged: {name} does not lie in its storage")
    # An axis of length one may have any stride.
    strides = tuple(
        stride * values.itemsize if side > 1 else 0
        for side, stride in zip(tensor.shape, tensor.strides, strict=True)
    )
    return np.lib.stride_tricks.as_strided(
        values[tensor.offset :], tensor.shape, strides, writeable=False
    )


def _storage_values(storage: Storage, content: bytes, path: Path) -> np.ndarray:
    dtype = _dtype(storage)
    if len(content) != storage.count * dtype.itemsize:
        raise _damaged(path, storage.key)
    values = np.frombuffer(content, dtype)
    if storage.dtype not in ("<f8", "<f4", "<f2", "bfloat16"):
        return values
    with np.errstate(over="ignore"):
        return values.astype(np.float32, copy=False)


def read(path: Path) -> dict[str, np.ndarray]:
    """Reads the tensors of a .pth, .pt or .bin file by name: floats as float32, integers unchanged.

    Raises:
      InputError: the file cannot be read, is damaged, holds more than tensors, or has values that are
        not finite.
    """
    with opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        start = file.read(4)
        file.seek(0)
        try:
            if start == b"PK\x03\x04":
                value, load = _zipped(path, file, size)
            elif start[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
                value, load = _legacy(path, file, size)
            else:
                raise InputError(f"{path}: no file of PyTorch")
            return _read(_state(value, path), load, path, size)
        except _DAMAGE as error:
            raise InputError(f"{path}: cut short or damaged") from error


def _read(state: dict[str, Tensor], load: _Read, path: Path, size: int) -> dict[str, np.ndarray]:
    stored: dict[str, np.ndarray] = {}
    described: dict[str, tuple[int, str]] = {}
    found, numbers = {}, 0
    for name, tensor in state.items():
        key = tensor.storage.key
        if key not in stored:
            numbers += tensor.storage.count
            if numbers > size:
                raise InputError(f"{path}: damaged: more numbers than bytes")
            described[key] = tensor.storage.count, tensor.storage.dtype
            stored[key] = _storage_values(tensor.storage, load(tensor.storage), path)
        elif (tensor.storage.count, tensor.storage.dtype) != described[key]:
            raise InputError(f"{path}: damaged: storage {key[:40]!r} is described twice")
        found[name] = _array(tensor, stored[key], name, path)
    total = sum(values.size for values in found.values())
    if total > size:
        raise InputError(
            f"{path}: refused: its tensors share their numbers: {total} in {size} bytes"
        )
    for name, values in found.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise InputError(f"{path}: {name} has values that are not finite")
    return found
