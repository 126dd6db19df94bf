"""Reads dlib's face recognition network, in dlib's own format, as tensors by name.

A network is stored from the loss inwards: the version of every layer, the input, then settings and
tensors of every layer from the input outwards. Layers have no names; ours count those of a kind.

References: dlib, dlib/serialize.h; dlib/dnn/core.h and layers.h; dlib/cuda/tensor.h.
"""

import math
from collections import Counter
from io import BufferedReader
from pathlib import Path

import numpy as np

from ageflax.errors import InputError
from ageflax.weights.formats.files import as_float32, opened

Shape = tuple[int, ...]
Tensors = dict[str, np.ndarray]

_START = b"\x01\x01\x01\x0dloss_metric_2"  # a version, and a word after its length
_INPUT = "input_rgb_image_sized"
# Versions: a tag, or a jump to one, stores nothing else; a layer is 2; the one next to the input, 3.
_TAG, _FIRST = 1, 3
_MOST_LAYERS = 1000
_NUMBER = 2  # integers of a floating point number: mantissa and exponent
# Layers without tensors, and their settings: sides, strides and padding.
_PLAIN = {"relu_": 0, "add_prev_": 0, "max_pool_2": 6, "avg_pool_2": 6}
# Strides and padding of rows and columns; other ones would not show in the tensors.
_STEPS = ((1, 1, 1, 1), (2, 2, 0, 0))


class _Stream:
    """Values of a file, one after the other; no more is read than is left, whatever a length claims."""

    def __init__(self, path: Path, file: BufferedReader):
        self._path, self._file = path, file
        self.left = path.stat().st_size

    def damaged(self, why: str) -> InputError:
        return InputError(
            f"{self._path}: cut short, damaged, or another network than dlib's face recognition: {why}"
        )

    def take(self, count: int) -> bytes:
        if not 0 <= count <= self.left:
            raise self.damaged(f"{count} bytes announced, {self.left} left")
        self.left -= count
        return self._file.read(count)

    def integer(self) -> int:
        """Stored as a byte with the sign and the number of bytes, then these bytes."""
        (control,) = self.take(1)
        count = control & 0x0F
        if control & 0x70 or not 1 <= count <= 8:
            raise self.damaged(f"an integer that starts with {control:#04x}")
        value = int.from_bytes(self.take(count), "little")
        return -value if control & 0x80 else value

    def integers(self, count: int) -> Shape:
        return tuple(self.integer() for _ in range(count))

    def expect(self, expected: int, what: str) -> None:
        if (found := self.integer()) != expected:
            raise self.damaged(f"{what} {found}, expected {expected}")

    def word(self) -> str:
        length = self.integer()
        if length > len(_INPUT):
            raise self.damaged(f"a name of {length} letters")
        return self.take(length).decode("latin-1")

    def flags(self, count: int) -> None:
        if set(self.take(count)) - set(b"01"):
            raise self.damaged("a flag that is neither 0 nor 1")

    def shape(self) -> Shape:
        """Four extents: all are zero, or none."""
        shape = self.integers(4)
        if min(shape) < bool(max(shape)):
            raise self.damaged(f"a tensor of shape {shape}")
        return shape

    def tensor(self) -> np.ndarray:
        """float32[n]; its shape is that of its parts."""
        self.expect(2, "a tensor of version")
        return np.frombuffer(self.take(4 * math.prod(self.shape())), "<f4")

    def parts(self, values: np.ndarray) -> list[np.ndarray]:
        """The two parts of a layer's one tensor, whose shapes follow."""
        shapes = []
        for _ in range(2):
            self.expect(1, "a part of version")
            shapes.append(self.shape())
        first, second = map(math.prod, shapes)
        if first + second != values.size:
            raise self.damaged(f"{values.size} numbers in shapes {shapes[0]} and {shapes[1]}")
        halves = values[:first], values[first:]
        return [half.reshape(shape) for half, shape in zip(halves, shapes, strict=True)]


def _details(stream: _Stream) -> tuple[str, Tensors]:
    """Kind of a layer, and its tensors: kernels O, I, H, W and O, I."""
    kind = stream.word()
    if kind in _PLAIN:
        stream.integers(_PLAIN[kind])
        return kind, {}
    if kind == "con_4":
        values = stream.tensor()
        steps = stream.integers(7)[3:]
        if steps not in _STEPS:
            raise stream.damaged(f"a convolution of strides {steps[:2]} and padding {steps[2:]}")
        weight, bias = stream.parts(values)
        stream.integers(4 * _NUMBER)  # factors on learning rates
        return "con", {"weight": weight, "bias": bias.ravel()}
    if kind == "affine_":
        scale, bias = stream.parts(stream.tensor())
        stream.expect(0, "an affine layer of mode")  # per channel
        return "affine", {"weight": scale.ravel(), "bias": bias.ravel()}
    if kind == "fc_2":
        stream.integers(2)
        weight, _ = stream.parts(stream.tensor())  # no bias
        stream.expect(1, "a fully connected layer of mode")
        stream.integers(4 * _NUMBER)
        return "fc", {"weight": weight.reshape(len(weight), math.prod(weight.shape[1:])).T}
    raise stream.damaged(f"a layer {kind!r}")


def _layers(stream: _Stream) -> list[tuple[str, Tensors]]:
    """Kind and tensors of every layer, from the input outwards."""
    stream.integers(2 * _NUMBER)  # the loss's margin and threshold
    versions = []
    while not versions or versions[-1] != _FIRST:
        versions.append(stream.integer())
        if not _TAG <= versions[-1] <= _FIRST or len(versions) > _MOST_LAYERS:
            raise stream.damaged(f"layer {len(versions)} of version {versions[-1]}")
    if (name := stream.word()) != _INPUT:
        raise stream.damaged(f"an input {name!r}")
    stream.integers(3 * _NUMBER + 2)  # mean, height, width
    found = []
    for version in reversed(versions):
        if version == _TAG:
            continue
        found.append(_details(stream))
        stream.flags(3)
        for _ in range(3):
            stream.tensor()  # gradients and the last output, which a finished network lacks
        if version == _FIRST:
            stream.integer()  # images per sample
    if stream.left:
        raise stream.damaged(f"{stream.left} bytes after its end")
    return found


def _merged(tensors: Tensors, name: str, affine: Tensors) -> Tensors:
    """A convolution and the affine layer after it as one convolution; ValueError if they do not fit."""
    weight, bias = tensors.get(f"{name}.weight"), tensors.get(f"{name}.bias")
    scale, offset = affine["weight"], affine["bias"]
    if weight is None or bias is None or {len(weight), len(scale), len(offset)} != {len(bias)}:
        raise ValueError("an affine layer that does not fit the convolution before it")
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is reported by name
        weight, bias = weight * scale[:, None, None, None], bias * scale + offset
    return {f"{name}.weight": weight, f"{name}.bias": bias}


def read(path: Path) -> Tensors:
    """Reads the tensors as float32 under names such as con1.weight, con29.bias, fc1.weight.

    An affine layer, a batch norm with its statistics merged, is merged into the convolution before it.

    Raises:
      InputError: the file is absent, damaged or something else, or has values that are not finite.
    """
    with opened(path) as file:
        stream = _Stream(path, file)
        if stream.left < len(_START) or stream.take(len(_START)) != _START:
            raise stream.damaged("its start is another's")
        tensors: Tensors = {}
        counts: Counter[str] = Counter()
        name = ""
        for kind, parts in _layers(stream):
            if kind == "affine":
                try:
                    tensors |= _merged(tensors, name, parts)
                except ValueError as error:
                    raise stream.damaged(str(error)) from None
                continue
            counts[kind] += 1
            name = f"{kind}{counts[kind]}"
            tensors |= {f"{name}.{part}": values for part, values in parts.items()}
        return {name: as_float32(values, f"{path}: {name}") for name, values in tensors.items()}
