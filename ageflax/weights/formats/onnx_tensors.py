"""Tensors of an ONNX file: inside it, or beside it in a file of its own folder.

References: onnx.proto; ONNX, External Data.
"""

from collections.abc import Iterable
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import ml_dtypes
import numpy as np

from ageflax.errors import InputError
from ageflax.weights.formats import protobufs
from ageflax.weights.formats.protobufs import text

_DTYPES = {
    1: np.dtype("<f4"), 6: np.dtype("<i4"), 7: np.dtype("<i8"), 10: np.dtype("<f2"),
    11: np.dtype("<f8"), 16: np.dtype(ml_dtypes.bfloat16),
}  # fmt: skip
_FLOATS = (1, 10, 11, 16)
_MOST_AXES = 8
_EXTERNAL = 1
_SLACK = 1_000_000  # bytes; short lists of numbers take fewer in a file than in memory


class Tensors:
    """The tensors of one file by name, each read when it is asked for.

    All that is read of them takes no more than the files are long, and four times that where they are of
    half precision, however often a graph names the same bytes.

    Args:
      path: of the .onnx file.
      initializers: TensorProto messages.
    """

    def __init__(self, path: Path, initializers: Iterable[Any]):
        self._path = path
        self._protos = {proto.name: proto for proto in initializers}
        self._read: dict[bytes, np.ndarray] = {}
        self._left = path.stat().st_size + _SLACK
        self._counted: set[Path] = set()

    def __contains__(self, name: bytes) -> bool:
        return name in self._protos

    def __getitem__(self, name: bytes) -> np.ndarray:
        if name not in self._read:
            self._read[name] = self.values(self._protos[name])
        return self._read[name]

    def shape(self, name: bytes) -> tuple[int, ...]:
        """Without reading it."""
        return tuple(self._protos[name].dims)

    def _spend(self, size: int, where: str) -> None:
        self._left -= size
        if self._left < 0:
            raise InputError(f"{where}: tensors share bytes of the file, which no network needs")

    def values(self, proto: Any) -> np.ndarray:
        """A tensor's numbers: floats as float32, integers as they are.

        Raises:
          InputError: its type is not of weights; it has not as many numbers as its shape; they are not
            finite; or it lies in another file than one of the model's own folder.
        """
        where = f"{self._path}: tensor {text(proto.name)!r}"
        dtype, shape = _DTYPES.get(proto.data_type), tuple(proto.dims)
        if dtype is None:
            raise InputError(f"{where}: of ONNX's type {proto.data_type}, not of weights")
        if len(shape) > _MOST_AXES or any(side < 0 for side in shape):
            raise InputError(f"{where}: damaged: of shape {shape[:_MOST_AXES]}")
        count = 1
        for side in shape:
            count *= side
        if proto.data_location == _EXTERNAL:
            values = self._external(proto, dtype, count, where)
        else:
            values = self._inside(proto, dtype, where)
        if values.size != count:
            raise InputError(f"{where}: damaged: {values.size} numbers, and the shape {shape}")
        self._spend(values.nbytes, where)
        if proto.data_type in _FLOATS:
            with np.errstate(over="ignore"):
                values = values.astype(np.float32, copy=False)
            if not np.isfinite(values).all():
                raise InputError(f"{where}: has values that are not finite")
        return values.reshape(shape)

    def _inside(self, proto: Any, dtype: np.dtype, where: str) -> np.ndarray:
        try:
            if proto.raw_data:
                return protobufs.numbers(
                    proto.raw_data, dtype.str if dtype.kind != "V" else "<u2"
                ).view(dtype)
            if proto.float_data:
                return protobufs.numbers(proto.float_data, "<f4")
            if proto.double_data:
                return protobufs.numbers(proto.double_data, "<f8")
        except ValueError as error:
            raise InputError(f"{where}: damaged: {error}") from error
        return np.array(proto.int64_data, np.int64)

    def _external(self, proto: Any, dtype: np.dtype, count: int, where: str) -> np.ndarray:
        entries = {bytes(entry.key): bytes(entry.value) for entry in proto.external_data}
        try:
            offset = int(entries.get(b"offset", b"0")[:20])
            size = int(entries.get(b"length", str(count * dtype.itemsize).encode())[:20])
            location = entries.get(b"location", b"").decode()
        except ValueError as error:
            raise InputError(f"{where}: where its external data lies cannot be read") from error
        path = self._beside(location, where)
        length = path.stat().st_size
        if path not in self._counted:
            self._counted.add(path)
            self._left += length
        if offset < 0 or size != count * dtype.itemsize or offset + size > length:
            raise InputError(
                f"{where}: its external data does not lie in {path.name}: {size} bytes from {offset}"
                f" of {length}"
            )
        return np.fromfile(path, dtype, count, offset=offset)

    def _beside(self, location: str, where: str) -> Path:
        """A file of the model's own folder, or of one in it.

        Raises:
          InputError: it is none, or another place is meant.
        """
        folder = self._path.parent.resolve()
        shown = text(location.encode())
        parts = (*PurePosixPath(location).parts, *PureWindowsPath(location).parts)
        absolute = PurePosixPath(location).is_absolute() or PureWindowsPath(location).anchor
        if not location or "\0" in location or absolute or ".." in parts:
            raise InputError(f"{where}: external data outside the model's folder: {shown!r}")
        try:
            path = (folder / location).resolve()
            inside = path.is_relative_to(folder)
            there = path.is_file()
        except (OSError, RuntimeError, ValueError) as error:
            raise InputError(f"{where}: its external data {shown!r} cannot be read") from error
        if not inside:
            raise InputError(f"{where}: external data outside the model's folder: {shown!r}")
        if not there:
            raise InputError(f"{where}: its external data {shown!r} is not beside the model")
        return path
