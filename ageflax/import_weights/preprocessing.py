"""Mean and std of a foreign network's input, from options and files."""

import math
from pathlib import Path

import numpy as np

from ageflax.augment.means import FIXED
from ageflax.errors import InputError
from ageflax.weights.formats import caffe


def _in_rgb(values: np.ndarray, channels: str) -> np.ndarray:
    """Reorders the channels of the network's input to RGB."""
    return np.ascontiguousarray(values[..., ::-1] if channels == "bgr" else values)


def _numbers(given: str, option: str) -> np.ndarray | None:
    """Three numbers joined by commas; None if the text is not a list of numbers."""
    try:
        values = [float(part) for part in given.split(",")]
    except ValueError:
        return None
    if len(values) == 1:
        return None
    if len(values) != 3 or not all(map(math.isfinite, values)):
        raise InputError(f"{option}={given}: expected three numbers, one per channel")
    return np.array(values, np.float32).reshape(1, 1, 3)


def mean(given: str | None, *, channels: str, resize: int) -> np.ndarray:
    """Reads a mean as float32[h, w, 3], RGB, of the decoded size or 1x1.

    Args:
      given: key of FIXED, three numbers in the order of `channels`, or a mean.binaryproto.
      channels: channel order of the network's input.
      resize: side in pixels of the decoded image, which a mean image must have.

    Raises:
      InputError: it is not given, cannot be read, or has another size.
    """
    if given is None:
        raise InputError(
            "--mean: needed, since the file of weights does not hold it; use FILE.binaryproto, three"
            f" numbers in the order of --channels, or one of {', '.join(FIXED)}"
        )
    if given in FIXED:
        return FIXED[given].mean
    values = _numbers(given, "--mean")
    if values is None:
        values = caffe.read_mean(Path(given))
        height, width, depth = values.shape
        if depth != 3:
            raise InputError(f"{given}: a mean with one channel, expected {channels}")
        if (height, width) not in ((1, 1), (resize, resize)):
            raise InputError(
                f"{given}: a mean image of {width}x{height}, expected {resize}x{resize};"
                f" --resize={width} resizes faces to its size"
            )
    return _in_rgb(values, channels)


def std(given: str | None, *, mean: str | None, channels: str) -> np.ndarray:
    """Reads per-channel divisors as float32[1, 1, 3], RGB.

    Args:
      given: key of FIXED, or three numbers; None takes those that belong to the mean.
      mean: text of the mean option.
      channels: channel order of the network's input.

    Raises:
      InputError: it is not three positive numbers.
    """
    if given is None:
        given = mean if mean in FIXED else "none"
    if given in FIXED:
        return FIXED[given].std
    values = _numbers(given, "--deviation")
    if values is None or (values <= 0).any():
        raise InputError(
            f"--deviation={given}: expected three positive numbers, or one of {', '.join(FIXED)}"
        )
    return _in_rgb(values, channels)
