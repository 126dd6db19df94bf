"""Weights files: safetensors, read without running anything that is in them."""

import hashlib
import json
from pathlib import Path

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
    "U8": np.dtype("u1"),
}
# The format's own bound; a header of all of Llama's tensors has a hundredth of it.
_LARGEST_HEADER = 100_000_000

_NOT_SAFETENSORS = (
    (b"PK\x03\x04", "a PyTorch or zip file"),
    (b"\x80", "a pickle"),
)
_CONVERT = (
    "reading it could run code that is in it, so it is refused. Where it is trusted, convert it:"
    " safetensors.torch.save_file(torch.load(FILE, weights_only=True), 'model.safetensors')"
)


def _reject_others(path: Path, start: bytes) -> None:
    for signature, kind in _NOT_SAFETENSORS:
        if start.startswith(signature) and start[8:9] != b"{":
            raise InputError(f"{path}: {kind}, not safetensors: {_CONVERT}")
    text = start.lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise InputError(f"{path}: a web page, not weights: the download failed")
    if text.startswith(b"version https://git-lfs"):
        raise InputError(f"{path}: a Git LFS pointer, not the weights themselves: git lfs pull")


def read(path: Path) -> dict[str, np.ndarray]:
    """Tensors of a safetensors file by name; floats as float32.

    Raises:
      InputError: it is absent, something else (a pickle is refused, never opened), damaged, or has
        values that are not finite.
    """
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise InputError(f"{path}: no file")
        with path.open("rb") as file:
            start = file.read(64)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    if not size:
        raise InputError(f"{path}: an empty file")
    _reject_others(path, start)
    length = int.from_bytes(start[:8], "little")
    if size < 8 or not 2 <= length <= min(size - 8, _LARGEST_HEADER):
        raise InputError(
            f"{path}: not safetensors, or cut short: {size} bytes, of which its first eight say that"
            f" {length} are header"
        )
    with path.open("rb") as file:
        header = file.read(8 + length)[8:]
    tensors = _tensors(path, header, offset=8 + length, size=size)
    for name, values in tensors.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise InputError(f"{path}: {name} has values that are not finite")
    return tensors


def _tensors(path: Path, header: bytes, *, offset: int, size: int) -> dict[str, np.ndarray]:
    try:
        entries = json.loads(header)
        described = [
            (name, _DTYPES.get(e["dtype"]), tuple(map(int, e["shape"])), *map(int, e["data_offsets"]))
            for name, e in entries.items()
            if name != "__metadata__"
        ]
    # Whatever is in place of a header: text, a list, numbers for names.
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InputError(f"{path}: not safetensors: its header cannot be read") from error
    content = np.memmap(path, np.uint8, mode="r")
    tensors = {}
    for name, dtype, shape, start, stop in described:
        if dtype is None:
            raise InputError(f"{path}: {name} is of type {entries[name]['dtype']!r}, not of weights")
        count = 1
        for side in shape:
            count *= side
        inside = 0 <= start <= stop <= size - offset and all(side >= 0 for side in shape)
        if not inside or stop - start != count * dtype.itemsize:
            raise InputError(f"{path}: damaged or cut short: {name} does not lie within it")
        values = np.frombuffer(content[offset + start : offset + stop].tobytes(), dtype)
        values = values.reshape(shape)
        tensors[name] = values if dtype.kind in "iu" else values.astype(np.float32)
    return tensors


def sha256(path: Path) -> str:
    """Of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_sha256(path: Path, expected: str) -> str:
    """The file's checksum; raises InputError where another was expected ("" expects none)."""
    found = sha256(path)
    if expected and found != expected.lower():
        raise InputError(f"{path.name}: sha256 is {found}, not {expected}: another or a damaged file")
    return found
