"""Weights and images drawn by both the golden script and the tests, so that neither is stored."""

import numpy as np

from tests.golden import seeded_weights
from tests.weights.formats import dlib_writer

WIDTH = 0.25  # of the drawn network
SIDE = 150


def weights() -> dict[str, np.ndarray]:
    """Weights of a narrow network by name, as ageflax.weights.formats.dlib gives them."""
    shapes = dlib_writer.shapes(WIDTH)
    return {name: seeded_weights.draw(name, shape, gain=2) for name, shape in shapes.items()}


def content() -> bytes:
    """Drawn weights as a file."""
    return dlib_writer.network(dlib_writer.layers(weights()))


def images() -> np.ndarray:
    """uint8[3, 150, 150, 3], RGB: noise, patches of 10 pixels under fine noise, and slopes."""
    generator = np.random.Generator(np.random.PCG64(SIDE))
    noise = generator.integers(0, 256, (SIDE, SIDE, 3))
    patches = generator.integers(20, 236, (15, 15, 3)).repeat(10, 0).repeat(10, 1)
    y, x = np.mgrid[:SIDE, :SIDE]
    slopes = np.stack([x, y, (x + y) // 2], -1)
    return np.stack([noise, patches + noise % 20, slopes]).astype(np.uint8)
