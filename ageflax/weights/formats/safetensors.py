"""Weights files: safetensors, read without running anything that is in them."""

import hashlib
import json
import os
from pathlib import Path
from typing import BinaryIO, NamedTuple

import ml_dtypes
import numpy as np

from ageflax.errors import InputError

_DTYPES = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U64": np.dtype("<u8"),
    "U32": np.dtype("<u4"),
    "U16": np.dtype("<u2"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}
_FLOATS = ("F64", "F32", "F16", "BF16")
# The format's own bound; the header of the largest network here has a thousandth of it.
_LARGEST_HEADER = 100_000_000
# So that a name can be printed in a message whatever the file says.
_LONGEST_NAME = 200


class _Entry(NamedTuple):
    """A tensor as the header describes it; start and stop count from the end of the header."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


def _reject_others(path: Path, start: bytes) -> None:
    """Names what is often given in place of safetensors, whose ninth byte is always a brace."""
    if start[8:9] == b"{":
        return
    zipped = start.startswith(b"PK\x03\x04")
    # PyTorch's archive begins with NAME/data.pkl.
    torch_zip = zipped and start[30 : 30 + int.from_bytes(start[26:28], "little")].endswith(
        b"data.pkl"
    )
    if torch_zip or (start[:1] == b"\x80" and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")):
        raise InputError(
            f"{path}: a pickle{' of PyTorch' * torch_zip}, not safetensors: it can run code when it is"
            " read, so it is refused. PyTorch's weights are made a bundle, without running them, by\n"
            f"  python -m ageflax.import_weights --from=torch --classes=none --input={path.name} ..."
        )
    text = start.lstrip().lower()
    for signature, kind in (
        (b"<!doctype", "a web page, not weights: the download failed"),
        (b"<html", "a web page, not weights: the download failed"),
        (b"<?xml", "a web page, not weights: the download failed"),
        (b"version https://git-lfs", "a Git LFS pointer in place of the weights: run git lfs pull"),
        (b"pk\x03\x04", "a zip archive, not safetensors: unpack it"),
        (b"\x89hdf", "HDF5, not safetensors"),
        (b"\x93numpy", "a NumPy array, not safetensors"),
    ):
        if text.startswith(signature):
            raise InputError(f"{path}: {kind}")


def _whole_numbers(values: object) -> tuple[int, ...]:
    if not isinstance(values, list) or any(type(v) is not int or v < 0 for v in values):
        raise ValueError("not a list of whole numbers")
    return tuple(values)


def _entries(path: Path, header: bytes) -> list[_Entry]:
    """The tensors that a header describes, in the order of their bytes."""
    try:
        if header[:1] != b"{":
            raise ValueError("no JSON object")
        entries = []
        for name, described in json.loads(header.decode()).items():
            if name == "__metadata__":
                continue
            if len(name) > _LONGEST_NAME or not name.isprintable():
                raise ValueError("a name that cannot be printed")
            start, stop = _whole_numbers(described["data_offsets"])
            shape = _whole_numbers(described["shape"])
            entries.append(_Entry(name, str(described["dtype"]), shape, start, stop))
    # Whatever is in place of a header: text, lists, numbers for names, brackets without end.
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise InputError(f"{path}: not safetensors: its header cannot be read") from error
    return sorted(entries, key=lambda entry: (entry.start, entry.stop))


def _check_offsets(path: Path, entries: list[_Entry], room: int) -> None:
    """Tensors lie one after the other and fill the file, as the format demands.

    So nothing lies outside, and a header cannot claim the same bytes many times over to fill memory.
    """
    end = 0
    for entry in entries:
        dtype = _DTYPES.get(entry.dtype)
        if dtype is None:
            raise InputError(
                f"{path}: {entry.name} is of type {entry.dtype[:20]!r}, not of weights"
            )
        count = 1
        for side in entry.shape:
            count *= side
        if entry.start != end or entry.stop - entry.start != count * dtype.itemsize:
            raise InputError(f"{path}: damaged: {entry.name} does not lie where its header says")
        end = entry.stop
    if end > room:
        raise InputError(f"{path}: cut short: {end - room} bytes of its tensors are missing")
    if end < room:
        raise InputError(f"{path}: damaged: {room - end} bytes belong to no tensor")


def _tensor(path: Path, file: BinaryIO, entry: _Entry, offset: int) -> np.ndarray:
    file.seek(offset + entry.start)
    content = np.fromfile(file, np.uint8, entry.stop - entry.start)
    try:
        values = content.view(_DTYPES[entry.dtype]).reshape(entry.shape)
    except (ValueError, OverflowError) as error:  # more axes, or longer ones, than arrays can have
        raise InputError(f"{path}: damaged: {entry.name} has a shape that no array has") from error
    if entry.dtype not in _FLOATS:
        return values
    with np.errstate(over="ignore"):  # to infinity, which is reported next
        values = values.astype(np.float32, copy=False)
    if not np.isfinite(values).all():
        raise InputError(f"{path}: {entry.name} has values that are not finite")
    return values


def read(path: Path) -> dict[str, np.ndarray]:
    """Tensors of a safetensors file by name; those of floats as float32, of integers as they are.

    No more memory is taken than the file is long, whatever its header claims.

    Raises:
      InputError: it is absent, something else (a pickle is refused, never opened), damaged, or has
        values that are not finite.
    """
    try:
        if path.is_dir():
            raise InputError(f"{path}: a folder, not a weights file")
        if not path.is_file():
            raise InputError(f"{path}: no such file")
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            start = file.read(512)
            if not start:
                raise InputError(f"{path}: an empty file")
            _reject_others(path, start)
            length = int.from_bytes(start[:8], "little")
            if size < 8 or not 2 <= length <= min(size - 8, _LARGEST_HEADER):
                raise InputError(
                    f"{path}: not safetensors, or cut short: of its {size} bytes the first eight say"
                    f" that {length} are header"
                )
            file.seek(8)
            entries = _entries(path, file.read(length))
            _check_offsets(path, entries, size - 8 - length)
            return {entry.name: _tensor(path, file, entry, 8 + length) for entry in entries}
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error


def sha256(path: Path) -> str:
    """Of a file's content, in hexadecimal.

    Raises:
      InputError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error


def check_sha256(path: Path, expected: str) -> str:
    """The file's checksum.

    Args:
      path: of the file.
      expected: its checksum; "" expects none in particular.

    Raises:
      InputError: it has another.
    """
    found = sha256(path)
    if expected and found != expected.lower():
        raise InputError(
            f"{path}: sha256 is {found}, not {expected}: another file, or a damaged one"
        )
    return found
