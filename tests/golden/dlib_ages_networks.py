"""Weights and images drawn by both the golden script and the tests, so that neither is stored."""

import numpy as np

from tests.golden import seeded_weights
from tests.weights.formats import dlib_writer

WIDTH = 0.25  # of the drawn networks
SIDES = {"age": 64, "gender": 32}
_SHAPES = {"age": dlib_writer.age_shapes(WIDTH), "gender": dlib_writer.gender_shapes(WIDTH)}
_WRITERS = {"age": dlib_writer.age_network, "gender": dlib_writer.gender_network}


def weights(task: str) -> dict[str, np.ndarray]:
    """Weights of a narrow network by name, as ageflax.weights.formats.dlib gives them.

    Scales are about one, and dense kernels twice as large, so that answers differ between images.
    """
    found = {}
    for name, shape in _SHAPES[task].items():
        found[name] = seeded_weights.draw(f"{task} {name}", shape, gain=2)
        if name.endswith(".weight") and not name.startswith("con"):
            found[name] *= np.float32(2 if name.startswith("affine") or task == "age" else 4)
    return found


def content(task: str, *, style: str = "old") -> bytes:
    """Drawn weights as a file."""
    return _WRITERS[task](weights(task), style=style)


def images(task: str) -> np.ndarray:
    """uint8[3, side, side, 3], RGB: noise, patches of 8 pixels under fine noise, and slopes."""
    side = SIDES[task]
    generator = np.random.Generator(np.random.PCG64(side))
    noise = generator.integers(0, 256, (side, side, 3))
    patches = generator.integers(20, 236, (side // 8, side // 8, 3)).repeat(8, 0).repeat(8, 1)
    y, x = np.mgrid[:side, :side]
    slopes = np.stack([x, y, (x + y) // 2], -1) * 2
    return np.stack([noise, patches + noise % 20, slopes]).astype(np.uint8)
