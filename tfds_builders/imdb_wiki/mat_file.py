"""Reads MATLAB's .mat files of version 5, as far as tables need: numbers, texts, cells and structs.

SciPy's compiled reader trusts the file: it crashes on some damaged files and allocates any amount of
memory. This one needs a small multiple of the file's length, and reads a field on access.

References: MathWorks, MAT-File Format, Version 7, chapter 1, for the numbers of types and classes.
"""

import copy
import math
import zlib
from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np

# Cells are object[...] of values, texts are str, a char matrix of several rows is str[rows].
Value: TypeAlias = "np.ndarray | str | Struct"

_NUMBERS = {
    1: "i1",
    2: "u1",
    3: "i2",
    4: "u2",
    5: "i4",
    6: "u4",
    7: "f4",
    9: "f8",
    12: "i8",
    13: "u8",
}
_TEXTS = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
_MATRIX, _COMPRESSED, _LENGTHS, _COMPLEX = 14, 15, 5, 0x800
_CELL, _STRUCT, _CHAR, _NUMERIC = 1, 2, 4, range(6, 16)
_HEADER = 128
# Decompressed bytes of a file: twice the size of IMDB-WIKI's larger one.
_MOST = 300_000_000
_MOST_CELLS = 5_000_000  # per table; IMDB-WIKI has half a million faces
_DEEPEST = 8
_EMPTY = np.zeros((0, 0))


class DamagedError(ValueError):
    """A damaged file; the message does not name it."""


class _Elements:
    """Reads the elements of a file or a matrix, one after another.

    Args:
      content: the elements' bytes.
      order: byte order, "<" or ">".
    """

    def __init__(self, content: memoryview, order: str):
        self._content, self.order, self._at = content, order, 0

    def next(self) -> tuple[int, memoryview]:
        """Type and bytes of the next element."""
        start = self._content[self._at : self._at + 8]
        if len(start) < 8:
            raise DamagedError("cut short")
        byte_order = "little" if self.order == "<" else "big"
        kind, size = (int.from_bytes(start[k : k + 4], byte_order) for k in (0, 4))
        if kind >> 16:  # a short element, stored in place of its size
            kind, size, content = kind & 0xFFFF, kind >> 16, start[4:]
            self._at += 8
        else:
            content = self._content[self._at + 8 : self._at + 8 + size]
            self._at += 8 + size + (0 if kind == _COMPRESSED else -size % 8)
        if len(content) < size:
            raise DamagedError("cut short")
        return kind, content[:size]

    def numbers(self, kinds: Any = _NUMBERS) -> np.ndarray:
        """The next element as an array."""
        kind, content = self.next()
        if kind not in kinds:
            raise DamagedError(f"numbers of type {kind}")
        dtype = np.dtype(self.order + _NUMBERS[kind])
        if len(content) % dtype.itemsize:
            raise DamagedError("cut short")
        return np.frombuffer(content, dtype)

    def text(self) -> str:
        kind, content = self.next()
        if kind not in _TEXTS:
            raise DamagedError(f"a text of type {kind}")
        wide = {"<": "-le", ">": "-be"}[self.order] if _TEXTS[kind] in ("utf-16", "utf-32") else ""
        return bytes(content).decode(_TEXTS[kind] + wide, "replace")

    def matrix(self) -> "_Elements":
        kind, content = self.next()
        if kind != _MATRIX:
            raise DamagedError(f"an element of type {kind} instead of a matrix")
        return _Elements(content, self.order)

    def __len__(self) -> int:
        return len(self._content) - self._at

    def __copy__(self) -> "_Elements":
        return _Elements(self._content[self._at :], self.order)


class Struct:
    """A struct of one element; fields are read on access."""

    def __init__(self, fields: dict[str, _Elements], depth: int):
        self._fields, self._depth = fields, depth

    def __contains__(self, name: str) -> bool:
        return name in self._fields

    def __getitem__(self, name: str) -> Value:
        """A field's value.

        Raises:
          DamagedError: the field cannot be read.
        """
        return _value(copy.copy(self._fields[name]), self._depth)[1]


def _cells(elements: _Elements, sides: list[int], depth: int) -> np.ndarray:
    count = math.prod(sides)
    if count > min(len(elements) // 8, _MOST_CELLS):  # an empty one takes eight bytes
        raise DamagedError("cut short")
    cells = np.empty(count, object)
    for k in range(count):
        cells[k] = _value(elements.matrix(), depth)[1]
    return cells.reshape(sides, order="F")


def _struct(elements: _Elements, sides: list[int], depth: int) -> Struct:
    if math.prod(sides) != 1:
        raise DamagedError("a struct of several elements")
    lengths = elements.numbers((_LENGTHS,))
    length = int(lengths[0]) if lengths.size == 1 else 0
    text = elements.text()
    if length < 1 or len(text) % length:
        raise DamagedError("a struct without names")
    names = [text[k : k + length].partition("\0")[0] for k in range(0, len(text), length)]
    return Struct({name: elements.matrix() for name in names}, depth)


def _text(elements: _Elements, sides: list[int]) -> str | np.ndarray:
    text = elements.text()
    if sides[0] <= 1 and len(sides) == 2:
        return text
    if len(sides) != 2 or math.prod(sides) != len(text):
        raise DamagedError("a text that does not have its stated shape")
    return np.array(["".join(text[k :: sides[0]]) for k in range(sides[0])])


def _value(elements: _Elements, depth: int = 0) -> tuple[str, Value]:
    """Name and value of a matrix."""
    if not elements:  # an empty cell
        return "", _EMPTY
    if depth > _DEEPEST:
        raise DamagedError("nested too deep")
    flags = elements.numbers((6,))
    sides = [int(side) for side in elements.numbers((5, 6))]
    if flags.size != 2 or not 2 <= len(sides) <= 8 or min(sides) < 0:
        raise DamagedError("a matrix without a shape")
    name, kind = elements.text(), int(flags[0]) & 0xFF
    if kind == _CELL:
        return name, _cells(elements, sides, depth + 1)
    if kind == _STRUCT:
        return name, _struct(elements, sides, depth + 1)
    if kind == _CHAR:
        return name, _text(elements, sides)
    if kind not in _NUMERIC or int(flags[0]) & _COMPLEX:
        raise DamagedError(f"a matrix of class {kind}")
    values = elements.numbers()
    if values.size != math.prod(sides):
        raise DamagedError(f"{values.size} numbers for the shape {tuple(sides)}")
    return name, values.reshape(sides, order="F")


def _inflated(content: memoryview, order: str, most: int) -> _Elements:
    """The matrix in a compressed element; decompresses at most its stated size."""
    stream = zlib.decompressobj()
    tag = stream.decompress(content, 8)
    size = int.from_bytes(tag[4:8], "little" if order == "<" else "big")
    if size > most:
        raise DamagedError(f"more than {_MOST} bytes when decompressed")
    return _Elements(
        memoryview(tag + stream.decompress(stream.unconsumed_tail, size or 1)), order
    ).matrix()


def _decompressed(elements: _Elements) -> Iterator[_Elements]:
    left = _MOST
    while elements:
        kind, content = elements.next()
        if kind == _COMPRESSED:
            matrix = _inflated(content, elements.order, left)
            left -= len(matrix)
            yield matrix
        elif kind == _MATRIX:
            yield _Elements(content, elements.order)
        else:
            raise DamagedError(f"an element of type {kind}")


def read(content: bytes) -> dict[str, Value]:
    """Reads a file's variables by name.

    Raises:
      DamagedError: the file is not of version 5, is damaged, or holds kinds that are not in tables.
    """
    order = {b"IM": "<", b"MI": ">"}.get(content[126:128])
    version = content[125:126] if order == "<" else content[124:125]
    if order is None or version != b"\1":
        if content.startswith(b"MATLAB 7.3"):
            raise DamagedError("version 7.3; save it with -v7")
        raise DamagedError("not version 5")
    elements = _Elements(memoryview(content)[_HEADER:], order)
    try:
        return dict(_value(matrix) for matrix in _decompressed(elements))
    except zlib.error as error:
        raise DamagedError(f"compressed, and {error}") from error
