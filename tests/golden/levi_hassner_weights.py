"""Weights and images drawn by both the golden script and the tests, so that neither is stored.

Everything is in Caffe's layout: kernels O, I, H, W; matrices out, in, where fc6's input is flattened
C, H, W. The order of the draws is the order of SHAPES, the weight before the bias.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

# BGR; channel means of the authors' models.
MEAN_BGR = np.array([78.4263377603, 87.7689143744, 114.895847746])
CLASSES = 8
CROP = 227
WEIGHTS_SEED = 2015
IMAGES_SEED = 227

# Name and shape of the weights, in the order of the draws.
SHAPES = {
    "conv1": (96, 3, 7, 7),
    "conv2": (256, 96, 5, 5),
    "conv3": (384, 256, 3, 3),
    "fc6": (512, 384 * 7 * 7),
    "fc7": (512, 512),
    "fc8": (CLASSES, 512),
}
# Std of the weight, std of the bias, mean of the bias.
# LARGE has He et al.'s std: activations of 1 to 700, so that LRN bends them and pooling's last row
# matters. Biases are large enough that a missing one shows.
LARGE = {
    "conv1": ((2 / 147) ** 0.5, 5.0, 0.0),
    "conv2": ((2 / 2400) ** 0.5, 5.0, 0.0),
    "conv3": ((2 / 2304) ** 0.5, 5.0, 0.0),
    "fc6": (0.1 * (2 / 18816) ** 0.5, 1.0, 0.0),
    "fc7": ((2 / 512) ** 0.5, 1.0, 0.0),
    "fc8": (0.02, 0.2, 0.0),
}
# PAPER is the start of training; with LARGE the paper's rate diverges at once. The paper's biases are
# constants, spread a little here so that they can be told apart.
PAPER = {
    "conv1": (0.01, 0.1, 0.0),
    "conv2": (0.01, 0.1, 1.0),
    "conv3": (0.01, 0.1, 0.0),
    "fc6": (0.005, 0.1, 1.0),
    "fc7": (0.005, 0.1, 1.0),
    "fc8": (0.01, 0.1, 0.0),
}

Weights = dict[str, tuple[np.ndarray, np.ndarray]]


def draw_weights(scales: Mapping[str, tuple[float, float, float]]) -> Weights:
    """(weight, bias) by layer, float32; the same standard normals for all scales."""
    generator = np.random.Generator(np.random.PCG64(WEIGHTS_SEED))
    weights = {}
    for name, shape in SHAPES.items():
        std, bias_std, bias_mean = np.array(scales[name], np.float32)
        weight = generator.standard_normal(shape, np.float32) * std
        bias = generator.standard_normal(shape[0], np.float32) * bias_std + bias_mean
        weights[name] = (weight, bias)
    return weights


def draw_images(count: int) -> np.ndarray:
    """float32[count, 227, 227, 3]: BGR, 0-255 less the mean; patches of 8 pixels under fine noise."""
    generator = np.random.Generator(np.random.PCG64(IMAGES_SEED))
    coarse = generator.integers(0, 256, (count, 29, 29, 3)).repeat(8, 1).repeat(8, 2)
    noise = generator.integers(-20, 21, (count, CROP, CROP, 3))
    pixels = np.clip(coarse[:, :CROP, :CROP] + noise, 0, 255)
    return (pixels - MEAN_BGR).astype(np.float32)


def checksum(weights: Weights) -> np.ndarray:
    """float64[12, 4], the sum and the first three values of every array, by layer."""
    arrays = [array.ravel() for pair in weights.values() for array in pair]
    return np.array([[array.sum(dtype=np.float64), *array[:3]] for array in arrays])


def probe(stage: np.ndarray) -> np.ndarray:
    """A few values of every image: four channels at a map's corners, or 16 values of a vector.

    Args:
      stage: features [b, c, h, w] or [b, c].
    """
    if stage.ndim == 2:
        return stage[:, :: stage.shape[1] // 16]
    edges = np.array([0, 1, -2, -1])
    return stage[:, :: stage.shape[1] // 4][:, :, edges][:, :, :, edges]


def sample(array: np.ndarray) -> np.ndarray:
    """Up to 16 values spread over an array in Caffe's layout."""
    return array.ravel()[np.linspace(0, array.size - 1, min(array.size, 16)).astype(int)]


def flax_layout(array: np.ndarray) -> np.ndarray:
    """A Caffe array in flax's layout: H, W, I, O; in, out with fc6's input flattened H, W, C."""
    if array.ndim == 4:
        return array.transpose(2, 3, 1, 0)
    if array.ndim == 2 and array.shape[1] == 384 * 7 * 7:
        return array.reshape(-1, 384, 7, 7).transpose(2, 3, 1, 0).reshape(384 * 7 * 7, -1)
    return array.T


def caffe_layout(array: np.ndarray) -> np.ndarray:
    """The inverse of flax_layout."""
    if array.ndim == 4:
        return array.transpose(3, 2, 0, 1)
    if array.ndim == 2 and array.shape[0] == 384 * 7 * 7:
        return array.reshape(7, 7, 384, -1).transpose(3, 2, 0, 1).reshape(-1, 384 * 7 * 7)
    return array.T


def flax_params(weights: Weights, task: str) -> dict[str, Any]:
    """The parameters of a network whose only head is `task`."""
    layers: Mapping[str, dict[str, np.ndarray]] = {
        name: {"kernel": np.ascontiguousarray(flax_layout(weight)), "bias": bias}
        for name, (weight, bias) in weights.items()
    }
    trunk = {name: layer for name, layer in layers.items() if name != "fc8"}
    return {"trunk": trunk, "heads": {task: layers["fc8"]}}


def caffe_arrays(params: Mapping[str, Any], task: str) -> dict[str, np.ndarray]:
    """Arrays of a network with one head, in Caffe's layout, by name such as "conv1.weight"."""
    layers = {**params["trunk"], "fc8": params["heads"][task]}
    return {
        f"{name}.{kind}": caffe_layout(np.asarray(layers[name][key]))
        for name in SHAPES
        for kind, key in (("weight", "kernel"), ("bias", "bias"))
    }
