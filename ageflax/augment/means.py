"""Per-channel means and standard deviations of the images that public weights were trained with."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float


class Moments(NamedTuple):
    """Mean and standard deviation per channel, RGB, 0-255.

    Attributes:
      mean: subtracted from every image.
      std: divisor, applied after the mean is subtracted.
    """

    mean: Float[np.ndarray, "1 1 3"]
    std: Float[np.ndarray, "1 1 3"]


def _moments(mean: tuple[float, ...], std: tuple[float, ...]) -> Moments:
    return Moments(*(np.array(values, np.float32).reshape(1, 1, 3) for values in (mean, std)))


FIXED = {
    "none": _moments((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "imagenet": _moments((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    "clip": _moments(
        (122.7709383, 116.7460125, 104.09373615), (68.5005327, 66.6321579, 70.32316335)
    ),
    "dlib": _moments((122.782, 117.001, 104.298), (256.0, 256.0, 256.0)),
    "efficientnet_lite": _moments((127.0, 127.0, 127.0), (128.0, 128.0, 128.0)),
}
