"""Weights in fewer bits: float16, or int8 with one float32 scale per output channel.

In a file an int8 tensor NAME lies beside its scales, `scales/NAME`, a float32 vector over the last axis:
value = int8 * scale. No name of a bundle begins so: its tensors are `params/...`, `batch_stats/...`,
`mean` and `deviation`. Readers get float32 back, whatever was stored.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ageflax.errors import InputError

PRECISIONS = ("float32", "float16", "int8")
# Elements from which a weight is stored in fewer bits; biases, norms and statistics are small, and
# rounding them costs accuracy at once.
LEAST = 256
_SCALES = "scales/"


def is_reduced(values: np.ndarray, precision: str) -> bool:
    """True if a weight is stored in fewer bits at this precision: kernels and embeddings are."""
    return precision != "float32" and values.ndim >= 2 and values.size >= LEAST


def quantised(values: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """int8 values and a scale per channel along the axis; a channel's largest weight is 127 or -127."""
    others = tuple(k for k in range(values.ndim) if k != axis)
    scale = np.abs(values).max(others, keepdims=True) / 127.0
    scale = np.where(scale == 0, 1.0, scale).astype(np.float32)
    return np.round(values / scale).astype(np.int8), scale


def halved(values: np.ndarray) -> np.ndarray:
    """float16 values; those too large become infinite, which readers refuse."""
    with np.errstate(over="ignore"):
        return values.astype(np.float16)


def reduced(tensors: Mapping[str, np.ndarray], precision: str) -> dict[str, np.ndarray]:
    """Tensors of a file with `params/...` in fewer bits, and their scales; the inverse of `restored`.

    Args:
      tensors: float32 tensors by name.
      precision: one of PRECISIONS.
    """
    found: dict[str, np.ndarray] = {}
    for name, values in tensors.items():
        if not (name.startswith("params/") and is_reduced(values, precision)):
            found[name] = values
        elif precision == "float16":
            found[name] = halved(values)
        else:
            found[name], scale = quantised(values, values.ndim - 1)
            found[_SCALES + name] = scale.reshape(-1)
    return found


def restored(tensors: Mapping[str, np.ndarray], path: Path) -> dict[str, np.ndarray]:
    """Tensors without scales: each int8 tensor that has some is float32; others stay as they are.

    Args:
      tensors: content of a file.
      path: the file, for messages.

    Raises:
      InputError: scales belong to no int8 tensor, do not fit it, or are not positive.
    """
    found = {name: values for name, values in tensors.items() if not name.startswith(_SCALES)}
    for scales in tensors.keys() - found.keys():
        name, scale = scales.removeprefix(_SCALES), tensors[scales]
        values = found.get(name)
        if values is None or values.dtype != np.int8 or not values.ndim:
            raise InputError(f"{path}: {scales}: no int8 tensor {name} to scale")
        if scale.dtype != np.float32 or scale.shape != values.shape[-1:]:
            raise InputError(
                f"{path}: {scales}: {scale.dtype}{list(scale.shape)}, expected"
                f" float32{list(values.shape[-1:])}, one for each channel of {name}"
            )
        # The largest weight of a channel stays finite.
        if not ((scale > 0) & (scale < np.finfo(np.float32).max / 128)).all():
            raise InputError(f"{path}: {scales} has values that are not positive, or too large")
        found[name] = values * scale
    return found
