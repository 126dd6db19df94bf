"""Reads safetensors files, with errors that say what else a file is."""

import hashlib
from pathlib import Path
from typing import Any

import ml_dtypes  # noqa: F401  # gives NumPy the dtype bfloat16, which the library asks it for
import numpy as np
import safetensors

from ageflax.errors import InputError, one_line
from ageflax.weights.formats import precision
from ageflax.weights.formats.files import as_float32, check_name, opened

_FLOATS = ("F64", "F32", "F16", "BF16")
_DTYPES = (*_FLOATS, "I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "BOOL")


def _reject_others(path: Path, start: bytes) -> None:
    """Names the format of a file often given instead of safetensors, whose ninth byte is a brace."""
    if start[8:9] == b"{":
        return
    zipped = start.startswith(b"PK\x03\x04")
    # PyTorch's archive begins with NAME/data.pkl.
    torch_zip = zipped and start[30 : 30 + int.from_bytes(start[26:28], "little")].endswith(
        b"data.pkl"
    )
    if torch_zip or (start[:1] == b"\x80" and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")):
        raise InputError(
            f"{path}: a pickle{' of PyTorch' * torch_zip}, not safetensors; refused, because it can run"
            " code when it is read. To convert PyTorch's weights to a bundle without running them:\n"
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


def _tensor(path: Path, file: Any, name: str) -> np.ndarray:
    check_name(name, path)
    dtype = file.get_slice(name).get_dtype()
    if dtype not in _DTYPES:
        raise InputError(f"{path}: {name} has dtype {dtype}; expected one of {', '.join(_DTYPES)}")
    try:
        values = file.get_tensor(name)
    except (ValueError, OverflowError) as error:  # too many axes, or too long
        raise InputError(f"{path}: damaged: {name} has a shape no array can have") from error
    return as_float32(values, f"{path}: {name}") if dtype in _FLOATS else values


def read(path: Path) -> dict[str, np.ndarray]:
    """Reads the tensors of a safetensors file by name: floats as float32, integers unchanged.

    int8 tensors with scales are float32 again; see formats.precision. Takes no more memory than the
    float32 values need, whatever the header claims.

    Raises:
      InputError: the file is absent, damaged or something else (a pickle is refused unopened), or has
        values that are not finite, or scales that fit no tensor.
    """
    with opened(path) as file:
        _reject_others(path, file.read(512))
        try:
            with safetensors.safe_open(path, framework="numpy") as tensors:
                found = {name: _tensor(path, tensors, name) for name in sorted(tensors.keys())}
        except safetensors.SafetensorError as error:
            why = one_line(str(error).removeprefix("Error while deserializing header: "), 160)
            raise InputError(f"{path}: damaged, cut short or not safetensors: {why}") from error
    return precision.restored(found, path)


def sha256(path: Path) -> str:
    """Checksum of a file's content, in hexadecimal.

    Raises:
      InputError: the file cannot be read.
    """
    with opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_sha256(path: Path, expected: str) -> str:
    """Gives a file's checksum.

    Args:
      path: any file.
      expected: its checksum; "" accepts any.

    Raises:
      InputError: the checksum differs.
    """
    found = sha256(path)
    if expected and found != expected.lower():
        raise InputError(
            f"{path}: sha256 is {found}, not {expected}: another file, or a damaged one"
        )
    return found
