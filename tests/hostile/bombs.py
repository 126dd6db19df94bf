"""Small files that expand to huge ones, or never end, with the messages that refuse them."""

import functools
import gzip
import io
import struct
import tarfile
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image

from tests.hostile.mutate import _repaired_png, _repaired_tar

SIDE, LARGE = 60_000, 128 << 20  # pixels, bytes


def _picture(form: str, **options: object) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, form, **options)
    return stream.getvalue()


def _png(width: int, height: int, depth: int = 8, colour: int = 2, data: bytes = b"") -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content))
            + kind
            + content
            + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


@functools.cache
def _zeros(count: int) -> bytes:
    """`count` zeros, deflated without holding them."""
    packer, piece = zlib.compressobj(1), bytes(1 << 20)
    return b"".join(packer.compress(piece) for _ in range(count >> 20)) + packer.flush()


def _jpeg() -> bytes:
    content = bytearray(_picture("JPEG"))
    at = content.index(b"\xff\xc0")
    struct.pack_into(">HH", content, at + 5, SIDE, SIDE)
    return bytes(content)


def _patched(content: bytes, at: int, layout: str, *values: int) -> bytes:
    changed = bytearray(content)
    struct.pack_into(layout, changed, at, *values)
    return bytes(changed)


def _tiff() -> bytes:
    content = _picture("TIFF")
    (at,) = struct.unpack_from("<I", content, 4)
    changed = bytearray(content)
    for entry in range(at + 2, at + 26, 12):  # width and height are the first
        struct.pack_into(
            "<HHII", changed, entry, struct.unpack_from("<H", changed, entry)[0], 4, 1, SIDE
        )
    return bytes(changed)


@functools.cache
def _zeros_packed() -> bytes:
    stream = io.BytesIO()
    with gzip.GzipFile(fileobj=stream, mode="wb", compresslevel=1) as file:
        for _ in range(LARGE >> 20):
            file.write(bytes(1 << 20))
    return stream.getvalue()


def _packed(start: bytes) -> bytes:
    """gzip of `start` followed by LARGE zeros."""
    return gzip.compress(start) + _zeros_packed()


def _header(name: str, kind: bytes, size: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.type, member.size = kind, size
    return member.tobuf(tarfile.GNU_FORMAT)


def _global_remarks(count: int) -> bytes:
    """Global pax headers, each different."""
    stream = io.BytesIO()
    with gzip.GzipFile(fileobj=stream, mode="wb", compresslevel=1) as file:
        for number in range(count):
            text = b"a" * 900_000
            record = b"%d k%d=%s\n" % (len(text) + 20, number, text)
            record = b"%d %s" % (len(record), record.partition(b" ")[2])
            file.write(_header("g", tarfile.XGLTYPE, len(record)))
            file.write(record + bytes(-len(record) % 512))
    return stream.getvalue()


def _sparse() -> bytes:
    """A sparse file whose map of holes never ends."""
    records = b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n"
    header = _header("p", tarfile.XHDTYPE, len(records)) + records.ljust(512, b"\0")
    member = _header("wiki/wiki.mat", tarfile.REGTYPE, LARGE)
    return _packed(header + member + b"9999999\n".ljust(512, b"1"))


def _mat() -> bytes:
    """A cell array of empty cells, eight bytes each."""
    count = 6_000_000 * 8 + 40
    flags = struct.pack("<IIII", 6, 8, 1, 0) + struct.pack("<IIII", 5, 8, 1, 6_000_000)
    matrix = struct.pack("<II", 14, count) + flags + struct.pack("<II", 1, 0)
    inside = zlib.compress(matrix + struct.pack("<II", 14, 0) * 6_000_000, 1)
    return (
        b"MATLAB 5.0".ljust(124)
        + struct.pack("<H2s", 0x0100, b"IM")
        + struct.pack("<II", 15, len(inside))
        + inside
    )


def _mat_of_zeros() -> bytes:
    inside = _zeros(LARGE)
    return _mat()[:128] + struct.pack("<II", 15, len(inside)) + inside


def _safetensors() -> bytes:
    header = b'{"a":{"dtype":"F32","shape":[1000000,1000000],"data_offsets":[0,4000000000000]}}'
    return struct.pack("<Q", len(header)) + header + bytes(100)


def _torch(size: int) -> bytes:
    """A PyTorch archive whose storage claims a terabyte."""
    from tests.weights.formats import torch_writer

    state = {name: torch_writer.tensor(np.ones((4, 4), np.float32)) for name in "ab"}
    content = torch_writer.zipped(state)
    at = content.rindex(b"PK\x01\x02", 0, content.rindex(b"archive/data/0"))
    return _patched(content, at + 20, "<II", size, size)


# Name -> (key of kinds.KINDS, file, part of the message). An empty message means that the file is read.
BOMBS: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "PNG": ("photographs", lambda: _png(SIDE, SIDE, data=_zeros(1 << 20)), "too large"),
    "PNG of few bits": ("photographs", lambda: _png(SIDE, SIDE, 1, 0, _zeros(1 << 20)), "too large"),
    "PNG of sixteen bits, as large as may be": (
        "photographs", lambda: _png(8000, 8000, 16, 0, _zeros(8000 * 16_001 + (1 << 20))), "",
    ),
    "PNG whose text is a bomb": (
        "photographs",
        lambda: _repaired_png(
            _picture("PNG")[:33] + struct.pack(">I", len(_zeros(LARGE)) + 3) + b"zTXta\0\0"
            + _zeros(LARGE) + bytes(4) + _picture("PNG")[33:]
        ),
        "truncated",
    ),
    "JPEG": ("photographs", _jpeg, "too large"),
    "GIF": ("photographs", lambda: _patched(_picture("GIF"), 6, "<HH", SIDE, SIDE), "too large"),
    "BMP": ("photographs", lambda: _patched(_picture("BMP"), 18, "<ii", SIDE, SIDE), "too large"),
    "TIFF": ("photographs", _tiff, "too large"),
    "PPM": ("photographs", lambda: b"P6 60000 60000 255\n" + bytes(100), "too large"),
    "tar.gz of a wanted member": (
        "tar_gz", lambda: _packed(_header("wiki/wiki.mat", tarfile.REGTYPE, LARGE)), "times",
    ),
    "tar.gz of a long name": (
        "tar_gz", lambda: _packed(_header("n", tarfile.GNUTYPE_LONGNAME, LARGE)), "a name",
    ),
    "tar.gz of a remark": (
        "tar_gz", lambda: _packed(_header("n", tarfile.XHDTYPE, LARGE)), "a name or extended header",
    ),
    "tar.gz of many remarks": ("tar_gz", lambda: _global_remarks(3), "a name or extended header"),
    "tar.gz of a sparse member": ("tar_gz", _sparse, "sparse"),
    "tar of a member without end": (
        "tar", lambda: _repaired_tar(_patched(_header("x", tarfile.REGTYPE, 0), 124, ">Q", 1 << 63)) + bytes(1024),
        "damaged",
    ),
    "mat of empty cells": ("imdb_wiki_mat", _mat, "not a readable .mat file"),
    "mat of numbers that are not there": ("imdb_wiki_mat", _mat_of_zeros, "not a readable .mat file"),
    "safetensors of terabytes": ("safetensors", _safetensors, "not safetensors"),
    "safetensors of a header without end": (
        "safetensors", lambda: struct.pack("<Q", 1 << 62) + b"{" + bytes(100), "header",
    ),
    "pth of large storages": ("torch_zip", lambda: _torch(2**32 - 2), "damaged"),
}  # fmt: skip
