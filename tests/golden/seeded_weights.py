"""Weights and images drawn by both the golden scripts and the tests, so that neither is stored.

Everything is in PyTorch's layout and under torchvision's names: kernels O, I, H, W; matrices out, in.
Every array has its own random stream, seeded by its name, so the order of the draws does not matter.
"""

import zlib
from collections.abc import Iterable

import numpy as np


def _normals(name: str, shape: Iterable[int]) -> np.ndarray:
    generator = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
    return generator.standard_normal(tuple(shape), np.float32)


def draw(name: str, shape: tuple[int, ...], *, gain: float) -> np.ndarray:
    """Draws a float32 array at a scale that suits its kind.

    Args:
      name: torchvision's name, such as "layer1.0.bn1.running_var".
      shape: shape in PyTorch's layout.
      gain: variance of a kernel's outputs over the mean square of its inputs; He et al.'s is 2.
    """
    values = _normals(name, shape)
    if name.endswith("running_var"):
        return np.exp(np.float32(0.3) * values)
    if len(shape) > 1:
        return values * np.float32((gain / np.prod(shape[1:])) ** 0.5)
    if name.endswith("weight"):  # a batch norm's scale
        return np.float32(0.5) + np.float32(0.125) * values
    return np.float32(0.25) * values


def draw_images(count: int, height: int, width: int) -> np.ndarray:
    """float32[count, height, width, 3] of about -2 to 2: patches of 8 pixels under fine noise.

    Not clipped: constant patches would tie in max pooling, and rounding would decide the gradient.
    """
    rows, columns = -(-height // 8), -(-width // 8)
    coarse = _normals(f"patches {height} {width}", (count, rows, columns, 3))
    noise = _normals(f"noise {height} {width}", (count, height, width, 3))
    return coarse.repeat(8, 1).repeat(8, 2)[:, :height, :width] + np.float32(0.2) * noise


def probe(array: np.ndarray) -> np.ndarray:
    """float64[6]: mean, standard deviation and four values spread over the array."""
    wide = array.astype(np.float64)
    picks = wide.ravel()[np.linspace(0, wide.size - 1, 4).astype(int)]
    return np.array([wide.mean(), wide.std(), *picks])
