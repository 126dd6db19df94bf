"""What was subtracted from and divided out of the images that a foreign network saw."""

import math
from pathlib import Path

import numpy as np

from ageflax.augment.means import FIXED
from ageflax.errors import InputError
from ageflax.weights.formats import caffe


def _ordered(values: np.ndarray, channels: str) -> np.ndarray:
    """From the network's order of channels to RGB."""
    return np.ascontiguousarray(values[..., ::-1] if channels == "bgr" else values)


def _numbers(given: str, flag: str) -> np.ndarray | None:
    """Three numbers joined by commas; None where the text is no list."""
    parts = given.split(",")
    if len(parts) == 1:
        return None
    try:
        values = [float(part) for part in parts]
    except ValueError:
        return None
    if len(values) != 3 or not all(map(math.isfinite, values)):
        raise InputError(f"{flag}={given}: expected three numbers, one a channel")
    return np.array(values, np.float32).reshape(1, 1, 3)


def mean(given: str | None, *, channels: str, resize: int) -> np.ndarray:
    """float32[h, w, 3], RGB, of the decoded size or 1x1.

    Args:
      given: "none", "imagenet", "clip", three numbers in the order of `channels`, or a
        mean.binaryproto.
      channels: that the network sees.
      resize: side of the decoded image, under which a mean image lies.

    Raises:
      InputError: it is not given, cannot be read, or is of another size.
    """
    if given is None:
        raise InputError(
            "what is subtracted from the image is not in the file of weights: --mean=FILE.binaryproto,"
            " three numbers in the order of --channels, imagenet, clip or none"
        )
    if given in FIXED:
        return FIXED[given].mean
    values = _numbers(given, "--mean")
    if values is None:
        values = caffe.read_mean(Path(given))
        if values.shape[2] != 3:
            raise InputError(f"{given}: a mean of one channel, and the network sees {channels}")
        if values.shape[:2] not in ((1, 1), (resize, resize)):
            height, width = values.shape[:2]
            raise InputError(
                f"{given}: a mean image of {width}x{height}, and images are resized to {resize}:"
                f" --resize={width} resizes them to its size"
            )
    return _ordered(values, channels)


def deviation(given: str | None, *, mean_given: str | None, channels: str) -> np.ndarray:
    """float32[1, 1, 3], RGB.

    Args:
      given: "none", "imagenet", "clip" or three numbers; None goes by the mean.
      mean_given: with the mean of imagenet or clip, their deviation is divided by.
      channels: that the network sees.

    Raises:
      InputError: it is no list of three positive numbers.
    """
    if given is None:
        given = mean_given if mean_given in FIXED else "none"
    if given in FIXED:
        return FIXED[given].std
    values = _numbers(given, "--deviation")
    if values is None or (values <= 0).any():
        raise InputError(
            f"--deviation={given}: expected three positive numbers, imagenet, clip or none"
        )
    return _ordered(values, channels)
