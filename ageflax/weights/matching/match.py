"""Matches layers of a foreign graph with ours, by structure alone.

The graph is walked from output to input. Each layer must have the kind, stride, padding and rounding of
our network's; names and the order in the file play no part.
"""

from collections.abc import Callable

import numpy as np

from ageflax.errors import InputError
from ageflax.weights.matching.graph import Cursor, Layer, MismatchError
from ageflax.weights.matching.layouts import RESNETS

Tensors = dict[str, np.ndarray]

_VGG_STAGES = (2, 2, 3, 3, 3)  # convolutions per stage
_EPSILON = 1e-5  # our batch norm's


class _Found:
    """Tensors under our paths, in the order they are found."""

    def __init__(self):
        self.tensors: Tensors = {}

    def _add(self, path: str, layer: Layer, kernel: np.ndarray) -> None:
        zeros = np.zeros(kernel.shape[-1], np.float32)
        self.tensors[f"params/trunk/{path}/kernel"] = kernel
        self.tensors[f"params/trunk/{path}/bias"] = layer.tensors.get("bias", zeros)

    def conv(self, path: str, layer: Layer) -> None:
        """Adds a convolution."""
        self._add(path, layer, layer.tensors["kernel"].transpose(2, 3, 1, 0))

    def dense(self, path: str, layer: Layer) -> None:
        """Adds a fully connected layer over features."""
        self._add(path, layer, layer.tensors["kernel"].T)

    def dense_over_map(self, path: str, cursor: Cursor, *, side: int) -> None:
        """Adds a fully connected layer over a map, flattened C, H, W in most files, H, W, C here."""
        layer = cursor.take("dense")
        kernel = layer.tensors["kernel"]
        outputs, inputs = kernel.shape
        if inputs % side**2:
            raise MismatchError(
                f"{layer.name} sees {inputs} values, but {cursor.network} has a map of {side}x{side}"
                " pixels at this crop; --crop sets the crop"
            )
        if cursor.at("transpose"):  # to H, W, C
            cursor.take("transpose", order=(0, 2, 3, 1))
            self.dense(path, layer)
            return
        spatial = kernel.reshape(outputs, -1, side, side).transpose(0, 2, 3, 1)
        self._add(path, layer, spatial.reshape(outputs, inputs).T)

    def conv_and_norm(self, conv: str, norm: str, layers: tuple[Layer, Layer | None]) -> None:
        """Adds a convolution and its batch norm; an identity if that was folded into the convolution."""
        convolution, batch_norm = layers
        self.conv(conv, convolution)
        bias = self.tensors.pop(f"params/trunk/{conv}/bias")
        if batch_norm is None:
            ones = np.ones(len(bias), np.float32)
            scale, shift, mean, var = ones, bias, 0 * ones, ones * (1 - _EPSILON)
        else:
            scale, shift, mean, var = (
                batch_norm.tensors[name] for name in ("scale", "bias", "mean", "var")
            )
            mean = mean - bias  # a bias before the norm only shifts its mean
            # Another epsilon amounts to another variance.
            var = var + np.float32(batch_norm.settings["epsilon"] - _EPSILON)
        self.tensors |= {
            f"params/trunk/{norm}/scale": scale,
            f"params/trunk/{norm}/bias": shift,
            f"batch_stats/trunk/{norm}/mean": mean,
            f"batch_stats/trunk/{norm}/var": var,
        }


def _ceil_pooled(side: int) -> int:
    """Pixels after Caffe's 3x3 pool of stride 2."""
    return max(-(-(side - 3) // 2), 0) + 1


def _levi_hassner(cursor: Cursor, found: _Found, crop: int) -> None:
    sides = [(crop - 7) // 4 + 1]
    for _ in range(3):
        sides.append(_ceil_pooled(sides[-1]))
    cursor.take("relu")
    found.dense("fc7", cursor.take("dense"))
    cursor.take("relu")
    found.dense_over_map("fc6", cursor, side=sides[3])
    for k, (side, stride, pad) in enumerate(((3, 1, 1), (5, 1, 2), (7, 4, 0))):
        name = f"conv{3 - k}"
        if name != "conv3":
            cursor.take("lrn", size=5, alpha=1e-4, beta=0.75, k=1.0)
        cursor.pool(side=3, stride=2, pad=0, before=sides[2 - k], after=sides[3 - k])
        cursor.take("relu")
        found.conv(name, cursor.conv(side=side, stride=stride, pad=pad))


def _vgg16(cursor: Cursor, found: _Found, crop: int) -> None:
    sides = [crop]
    for _ in _VGG_STAGES:
        sides.append(sides[-1] // 2)
    cursor.take("relu")
    found.dense("fc7", cursor.take("dense"))
    cursor.take("relu")
    found.dense_over_map("fc6", cursor, side=sides[5])
    for stage in range(5, 0, -1):
        cursor.pool(side=2, stride=2, pad=0, before=sides[stage - 1], after=sides[stage])
        for k in range(_VGG_STAGES[stage - 1], 0, -1):
            cursor.take("relu")
            found.conv(f"conv{stage}_{k}", cursor.conv(side=3, stride=1, pad=1))


def _conv_and_norm(cursor: Cursor, *, side: int, stride: int) -> tuple[Layer, Layer | None]:
    norm = cursor.take("batch_norm") if cursor.at("batch_norm") else None
    return cursor.conv(side=side, stride=stride, pad=(side - 1) // 2), norm


def _main_path(cursor: Cursor, layers: list[tuple[int, int]]) -> list[tuple[Layer, Layer | None]]:
    """Convolutions of a block, from its input."""
    path = []
    for k, (side, stride) in enumerate(reversed(layers)):
        if k:
            cursor.take("relu")
        path.append(_conv_and_norm(cursor, side=side, stride=stride))
    return path[::-1]


def _block(cursor: Cursor, found: _Found, name: str, layers: list[tuple[int, int]]) -> None:
    """Matches a residual block; the two inputs of its sum come in either order."""
    cursor.take("relu")
    joined = cursor.take("add")
    first, second = (Cursor(layer, cursor.network) for layer in joined.inputs)
    strided = max(stride for _, stride in layers)
    end, shortcut = first.copy(), second
    try:
        main = _main_path(end, layers)
    except MismatchError:
        end, shortcut = second, first
        main = _main_path(end, layers)
    # A main path found in the shortcut alone is refused below: it ends elsewhere.
    if shortcut.layer is not end.layer:
        pair = _conv_and_norm(shortcut, side=1, stride=strided)
        if shortcut.layer is not end.layer:
            raise shortcut.differs("two branches that do not meet")
        found.conv_and_norm(f"{name}/downsample_conv", f"{name}/downsample_bn", pair)
    for k, pair in enumerate(main, 1):
        found.conv_and_norm(f"{name}/conv{k}", f"{name}/bn{k}", pair)
    cursor.layer = end.layer


def _resnet(name: str) -> Callable[[Cursor, _Found, int], None]:
    blocks, bottleneck = RESNETS[name]

    def walk(cursor: Cursor, found: _Found, crop: int) -> None:
        cursor.take("mean")
        for stage in range(4, 0, -1):
            for k in range(blocks[stage - 1] - 1, -1, -1):
                stride = 2 if stage > 1 and k == 0 else 1
                layers = [(3, stride), (3, 1)]
                if bottleneck:
                    layers = [(1, 1), (3, stride), (1, 1)]
                _block(cursor, found, f"layer{stage}_{k}", layers)
        side = (crop - 1) // 2 + 1
        cursor.pool(side=3, stride=2, pad=1, before=side, after=(side - 1) // 2 + 1)
        cursor.take("relu")
        found.conv_and_norm("conv1", "bn1", _conv_and_norm(cursor, side=7, stride=2))

    return walk


_WALKS: dict[str, Callable[[Cursor, _Found, int], None]] = {
    "levi_hassner": _levi_hassner,
    "vgg16": _vgg16,
    **{name: _resnet(name) for name in ("resnet18", "resnet34", "resnet50")},
}
MATCHED = tuple(_WALKS)


def match(output: Layer, network: str, *, crop: int) -> tuple[Tensors, Layer]:
    """Maps a graph's tensors to our paths.

    Args:
      output: end of the graph: the last dense layer, or a softmax of it.
      network: one of MATCHED.
      crop: side in pixels of the network's input.

    Returns:
      Tensors by path, such as "params/trunk/conv1/kernel", and the last layer, whose rows are the
      classes.

    Raises:
      InputError: the structures differ, or graphs are not matched with this network.
    """
    if network not in _WALKS:
        raise InputError(
            f"--arch={network}: weights of this format are imported for {', '.join(MATCHED)}"
        )
    cursor, found = Cursor(output, network), _Found()
    if cursor.at("softmax"):
        cursor.take("softmax")
    last = cursor.take("dense")
    _WALKS[network](cursor, found, crop)
    cursor.end()
    return found.tensors, last
