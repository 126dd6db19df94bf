"""Weights and images of efficientnet_lite.npz, drawn by both the golden script and the tests."""

import re

import numpy as np

from tests.golden import seeded_weights

SIDES = (224, 128)
EVAL = (2, 71, 93)  # odd and even maps
TRAIN = (8, 40, 52)
_GAIN = 1.0
# Norms before a ReLU6 have a std of about 4, so that it cuts off some values on either side.
_RECTIFIED = re.compile(r"_bn0\.weight|_bn1\.weight|_blocks\.\d+\._bn[01]\.weight")


def draw(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """float32 array of a name and shape of efficientnet_pytorch's."""
    values = seeded_weights.draw(name, shape, gain=_GAIN)
    return values * np.float32(8) if _RECTIFIED.fullmatch(name) else values


def directions(features: int) -> np.ndarray:
    """float32[TRAIN's images, features], standard normals."""
    return seeded_weights.draw("directions", (TRAIN[0], features), gain=float(features))
