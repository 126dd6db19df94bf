"""Reads tensors of an ONNX file: from inside it, or from a file in its folder.

References: onnx.proto; ONNX, External Data.
"""

import math
from collections.abc import Iterable
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import ml_dtypes
import numpy as np

from ageflax.errors import InputError
from ageflax.weights.formats import protobufs
from ageflax.weights.formats.files import as_float32
from ageflax.weights.formats.protobufs import text

_DTYPES = {
    1: np.dtype("<f4"), 6: np.dtype("<i4"), 7: np.dtype("<i8"), 10: np.dtype("<f2"),
    11: np.dtype("<f8"), 16: np.dtype(ml_dtypes.bfloat16),
}  # fmt: skip
_FLOATS = (1, 10, 11, 16)
_MOST_AXES = 8
_EXTERNAL = 1
_SLACK = 1_000_000  # bytes; short lists of numbers are smaller in a file than in memory


class Tensors:
    """Tensors of one file by name, each read on first use.

    In memory they take no more than the files' size (four times that in half precision), however often
    a graph names the same bytes.

    Args:
      path: the .onnx file.
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

    def values(self, proto: Any) -> np.ndarray:
        """Reads a tensor: floats as float32, integers unchanged.

        Raises:
          InputError: the type is not supported, the numbers do not fill the shape or are not finite, or
            the file lies outside the model's folder.
        """
        where = f"{self._path}: tensor {text(proto.name)!r}"
        dtype, shape = _DTYPES.get(proto.data_type), tuple(proto.dims)
        if dtype is None:
            raise InputError(f"{where}: ONNX's type {proto.data_type}, which no weights have")
        if len(shape) > _MOST_AXES or any(side < 0 for side in shape):
            raise InputError(f"{where}: damaged: shape {shape[:_MOST_AXES]}")
        count = math.prod(shape)
        if proto.data_location == _EXTERNAL:
            values = self._external(proto, dtype, count, where)
        else:
            values = self._inside(proto, dtype, where)
        if values.size != count:
            raise InputError(f"{where}: damaged: {values.size} numbers for the shape {shape}")
        self._left -= values.nbytes
        if self._left < 0:
            raise InputError(f"{where}: tensors share bytes of the file, which no network needs")
        if proto.data_type in _FLOATS:
            values = as_float32(values, where)
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
            raise InputError(f"{where}: the location of its external data is damaged") from error
        path = self._beside(location, where)
        length = path.stat().st_size
        if path not in self._counted:
            self._counted.add(path)
            self._left += length
        if offset < 0 or size != count * dtype.itemsize or offset + size > length:
            raise InputError(
                f"{where}: its external data ({size} bytes from {offset}) does not lie in {path.name},"
                f" which has {length}"
            )
        return np.fromfile(path, dtype, count, offset=offset)

    def _beside(self, location: str, where: str) -> Path:
        """Finds a file in or below the model's folder.

        Raises:
          InputError: the file is absent, or lies elsewhere.
        """
        folder = self._path.parent.resolve()
        shown = text(location.encode())
        outside = InputError(f"{where}: external data outside the model's folder: {shown!r}")
        parts = (*PurePosixPath(location).parts, *PureWindowsPath(location).parts)
        absolute = PurePosixPath(location).is_absolute() or PureWindowsPath(location).anchor
        if not location or "\0" in location or absolute or ".." in parts:
            raise outside
        try:
            path = (folder / location).resolve()
            inside = path.is_relative_to(folder)
            there = path.is_file()
        except (OSError, RuntimeError, ValueError) as error:
            raise InputError(f"{where}: its external data {shown!r} cannot be read") from error
        if not inside:
            raise outside
        if not there:
            raise InputError(f"{where}: its external data {shown!r} is not beside the model")
        return path
