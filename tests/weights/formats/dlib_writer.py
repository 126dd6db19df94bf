"""Writes dlib's face recognition network of any width, in dlib's own format, which dlib reads too."""

import math
from collections.abc import Mapping

import numpy as np

BLOCKS = (3, 4, 3, 3, 1)  # of each level
WIDTHS = (32, 64, 128, 256, 256)
MEAN = (122.782, 117.001, 104.298)
_DOWN, _SAME, _ONCE = (2, 2, 0, 0), (1, 1, 1, 1), (1, 1, 0, 0)  # strides and padding


def integer(value):
    """The sign and the number of bytes, then the bytes."""
    content = abs(value).to_bytes(max(1, (abs(value).bit_length() + 7) // 8), "little")
    return bytes([len(content) | 0x80 * (value < 0)]) + content


def integers(*values):
    return b"".join(map(integer, values))


def number(value):
    mantissa, exponent = math.frexp(value)
    return integers(int(mantissa * 2**24), exponent - 24)


def word(letters):
    return integer(len(letters)) + letters.encode()


def tensor(values, shape=None):
    shape = shape or (values.size, 1, 1, 1)
    return integers(2, *shape) + values.astype("<f4").tobytes()


EMPTY = tensor(np.zeros(0), (0, 0, 0, 0))


def part(*shape):
    return integers(1, *shape)


def joined(*arrays):
    return np.concatenate([array.ravel() for array in arrays])


def con(weight, bias, steps):
    settings = integers(len(weight), *weight.shape[2:], *steps)
    rates = b"".join(map(number, (1.0, 1.0, 1.0, 0.0)))
    parts = part(*weight.shape) + part(1, len(bias), 1, 1)
    return word("con_4") + tensor(joined(weight, bias)) + settings + parts + rates


def affine(weight, bias):
    shape = part(1, len(bias), 1, 1)
    return word("affine_") + tensor(joined(weight, bias)) + shape + shape + integer(0)


def pool(kind, *sides_and_steps):
    return word(f"{kind}_pool_2") + integers(*sides_and_steps)


def fc(weight):
    outputs, inputs = weight.shape
    values = tensor(weight.T, (inputs, outputs, 1, 1))
    parts = part(inputs, outputs, 1, 1) + part(0, 0, 0, 0)
    rates = b"".join(map(number, (1.0, 1.0, 1.0, 0.0)))
    return word("fc_2") + integers(outputs, inputs) + values + parts + integer(1) + rates


def layers(tensors: Mapping[str, np.ndarray]):
    """Details of every layer from the input outwards, None for a tag or a jump to one."""
    count = 0

    def convolution(steps):
        nonlocal count
        count += 1
        names = [
            f"{kind}{count}.{part}" for kind in ("con", "affine") for part in ("weight", "bias")
        ]
        weight, bias, scale, offset = (tensors[name] for name in names)
        return [con(weight, bias, steps), affine(scale, offset)]

    relu = word("relu_")
    found = [*convolution((2, 2, 0, 0)), relu, pool("max", 3, 3, *_DOWN)]
    for level, blocks in enumerate(BLOCKS):
        for k in range(blocks):
            halving = level and not k
            first = convolution(_DOWN if halving else _SAME)
            found += [None, *first, relu, *convolution(_SAME)]
            if halving:
                found += [None, None, pool("avg", 2, 2, *_DOWN)]
            found += [word("add_prev_"), relu]
    return [*found, pool("avg", 0, 0, *_ONCE), fc(tensors["fc1.weight"])]


def network(details):
    """The file of these layers; see `layers`."""
    first, *others = details
    versions = [1 if layer is None else 2 for layer in reversed(others)]
    tail = b"110" + 3 * EMPTY
    return b"".join([
        integer(1), word("loss_metric_2"), number(0.04), number(0.6),
        integers(*versions, 3), word("input_rgb_image_sized"), *map(number, MEAN), integers(150, 150),
        first, tail, integer(1),
        *(layer + tail for layer in others if layer is not None),
    ])  # fmt: skip


def shapes(width):
    """Shape of every tensor by name, in the file's order; `width` multiplies dlib's features."""
    found, inputs = {}, 3
    widths = [max(round(n * width), 1) for n in WIDTHS]
    stem = (widths[0], 7)
    blocks = [(n, 3) for n, blocks in zip(widths, BLOCKS, strict=True) for _ in range(2 * blocks)]
    for k, (features, side) in enumerate((stem, *blocks), 1):
        found[f"con{k}.weight"] = (features, inputs, side, side)
        found[f"con{k}.bias"] = found[f"affine{k}.weight"] = found[f"affine{k}.bias"] = (features,)
        inputs = features
    return found | {"fc1.weight": (128, inputs)}
