"""Writes dlib's networks for faces of any width, in dlib's own format, which dlib reads too.

A style is the version of dlib that saved a network: "old" until 2020, "new" since, and "trained" for an
old one saved for more training, whose batch norms and dropout are not yet those of inference. The
published files of ages and genders are of this style: their sizes are those of the writer's.
"""

import math
from collections.abc import Mapping

import numpy as np

# Blocks and features of each level.
FACE = ((3, 32), (4, 64), (3, 128), (3, 256), (1, 256))
AGE = ((1, 64), (2, 128), (2, 256))
GENDER = (32, 64)  # features of the two convolutions of each stage
MEAN = (122.782, 117.001, 104.298)
_DOWN, _SAME, _ONCE = (2, 2, 0, 0), (1, 1, 1, 1), (1, 1, 0, 0)  # strides and padding


def integer(value):
    """The sign and the number of bytes, then the bytes."""
    content = abs(value).to_bytes(max(1, (abs(value).bit_length() + 7) // 8), "little")
    return bytes([len(content) | 0x80 * (value < 0)]) + content


def integers(*values):
    return b"".join(map(integer, values))


def number(value, digits=24):
    """As dlib writes a float or, of 53 digits, a double: without the mantissa's last bytes of zero."""
    fraction, exponent = math.frexp(value)
    mantissa, exponent = int(fraction * 2**digits), exponent - digits
    for _ in range(8):
        if mantissa & 0xFF:
            break
        mantissa, exponent = mantissa >> 8, exponent + 8
    return integers(mantissa, exponent)


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


_EPSILON = 1e-4
RATES = b"".join(map(number, (1.0, 1.0, 1.0, 0.0)))


def con(weight, bias, steps, style="old"):
    settings = integers(len(weight), *weight.shape[2:], *steps)
    parts = part(*weight.shape) + part(1, len(bias), 1, 1)
    name, flags = ("con_6", b"10") if style == "new" else ("con_4", b"")
    return word(name) + tensor(joined(weight, bias)) + settings + parts + RATES + flags


def affine(weight, bias, style="old"):
    shape = part(1, len(bias), 1, 1)
    if style == "trained":  # a norm that amounts to it, whatever the last batch was
        ones = np.ones(len(bias))
        values, batch = joined(weight * 2, bias + weight), tensor(ones * 7) * 2
        running = tensor(ones) + tensor(ones * 4 - _EPSILON)
        numbers = integers(1000, 1000) + b"".join(map(number, (1.0, 0.0, 1.0, 1.0)))
        return (
            word("bn_con2")
            + tensor(values)
            + shape * 2
            + batch
            + running
            + numbers
            + number(_EPSILON, 53)
        )
    name, flags = ("affine_2", b"0") if style == "new" else ("affine_", b"")
    return word(name) + tensor(joined(weight, bias)) + shape + shape + integer(0) + flags


def relu(style="old"):
    return word("relu_2") + b"0" if style == "new" else word("relu_")


def pool(kind, *sides_and_steps):
    return word(f"{kind}_pool_2") + integers(*sides_and_steps)


def fc(weight, bias=None, style="old"):
    outputs, inputs = weight.shape
    rows = inputs + (bias is not None)
    values = tensor(joined(weight.T, *([] if bias is None else [bias])), (rows, outputs, 1, 1))
    parts = part(inputs, outputs, 1, 1)
    parts += part(0, 0, 0, 0) if bias is None else part(1, outputs, 1, 1)
    name, flags = ("fc_3", b"1") if style == "new" else ("fc_2", b"")
    head = word(name) + integers(outputs, inputs)
    return head + values + parts + integer(bias is None) + RATES + flags


def factor(style="old"):
    """What is left of dropout at half: multiplication by a half."""
    return (
        word("dropout_") + number(0.5) + EMPTY
        if style == "trained"
        else word("multiply_") + number(0.5)
    )


def _convolutions(tensors, style):
    """Writes the next convolution and its affine layer, whenever called with strides and padding."""
    count = 0

    def convolution(steps):
        nonlocal count
        count += 1
        names = [
            f"{kind}{count}.{part}" for kind in ("con", "affine") for part in ("weight", "bias")
        ]
        weight, bias, scale, offset = (tensors[name] for name in names)
        return [con(weight, bias, steps, style), affine(scale, offset, style)]

    return convolution


def layers(tensors: Mapping[str, np.ndarray], levels=FACE, *, style="old"):
    """Details of every layer of a ResNet from the input outwards, None for a tag or a jump to one."""
    convolution, rectified = _convolutions(tensors, style), relu(style)
    found = [*convolution(_DOWN), rectified, pool("max", 3, 3, *_DOWN)]
    for level, (blocks, _) in enumerate(levels):
        for k in range(blocks):
            halving = level and not k
            first = convolution(_DOWN if halving else _SAME)
            found += [None, *first, rectified, *convolution(_SAME)]
            if halving:
                found += [None, None, pool("avg", 2, 2, *_DOWN)]
            found += [word("add_prev_"), rectified]
    last = fc(tensors["fc1.weight"], tensors.get("fc1.bias"), style)
    return [*found, pool("avg", 0, 0, *_ONCE), last]


def gender_layers(tensors, *, style="old"):
    """Like `layers`, of the gender classifier."""
    convolution, rectified = _convolutions(tensors, style), relu(style)
    found = []
    for _ in GENDER:
        for _ in range(2):
            found += [*convolution(_SAME), rectified]
        found.append(pool("avg", 2, 2, *_DOWN))
    first, last = (fc(tensors[f"fc{k}.weight"], tensors[f"fc{k}.bias"], style) for k in (1, 2))
    return [*found, factor(style), first, rectified, factor(style), last]


FACE_LOSS = word("loss_metric_2") + number(0.04) + number(0.6)
CLASSES_LOSS = word("loss_multiclass_log_")


def rgb(*sides, means=MEAN):
    """An input of any size, or of one size."""
    name = "input_rgb_image_sized" if sides else "input_rgb_image"
    return word(name) + b"".join(map(number, means)) + integers(*sides)


def network(details, *, loss=FACE_LOSS, image=None):
    """The file of these layers; see `layers`."""
    first, *others = details
    versions = [1 if layer is None else 2 for layer in reversed(others)]
    tail = b"110" + 3 * EMPTY
    return b"".join([
        integer(1), loss, integers(*versions, 3), image or rgb(150, 150),
        first, tail, integer(1),
        *(layer + tail for layer in others if layer is not None),
    ])  # fmt: skip


def age_network(tensors, *, style="old"):
    return network(layers(tensors, AGE, style=style), loss=CLASSES_LOSS, image=rgb())


def gender_network(tensors, *, style="old"):
    return network(gender_layers(tensors, style=style), loss=CLASSES_LOSS, image=rgb(32, 32))


def _width(width):
    return lambda features: max(round(features * width), 1)


def _of_convolutions(sizes):
    """Shapes of the tensors of convolutions of (features, side), and the last one's features."""
    found, inputs = {}, 3
    for k, (features, side) in enumerate(sizes, 1):
        found[f"con{k}.weight"] = (features, inputs, side, side)
        found[f"con{k}.bias"] = found[f"affine{k}.weight"] = found[f"affine{k}.bias"] = (features,)
        inputs = features
    return found, inputs


def shapes(width, levels=FACE):
    """Shape of every tensor by name, in the file's order; `width` multiplies dlib's features."""
    f = _width(width)
    blocks = [(f(features), 3) for count, features in levels for _ in range(2 * count)]
    found, inputs = _of_convolutions([(f(levels[0][1]), 7), *blocks])
    return found | {"fc1.weight": (128, inputs)}


def age_shapes(width, outputs=81):
    found = shapes(width, AGE)
    inputs = found["fc1.weight"][1]
    return found | {"fc1.weight": (outputs, inputs), "fc1.bias": (outputs,)}


def gender_shapes(width, outputs=2, side=32):
    f = _width(width)
    found, inputs = _of_convolutions([(f(features), 3) for features in GENDER for _ in range(2)])
    hidden = f(16)
    return found | {
        "fc1.weight": (hidden, inputs * (side // 4) ** 2), "fc1.bias": (hidden,),
        "fc2.weight": (outputs, hidden), "fc2.bias": (outputs,),
    }  # fmt: skip
