"""Max pooling whose derivative is cheap on CPUs and GPUs."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float, UInt8

from ageflax.models.layers.platform import platform

Pads = tuple[tuple[int, int], tuple[int, int]]


def max_pool(
    x: Float[Array, "b h w c"],
    *,
    window: int,
    stride: int,
    padding: Pads = ((0, 0), (0, 0)),
    train: bool = False,
) -> Float[Array, "b h2 w2 c"]:
    """Largest value of each window; padding never wins.

    Args:
      x: features.
      window: side of the square windows.
      stride: stride of both axes.
      padding: rows before and after, columns before and after.
      train: True notes the place of each window's first largest value for the derivative, on CPUs and
        GPUs. XLA's derivative searches the windows again and scatters, several times slower there. TPUs
        have an operation for it. Values and derivative are the same.
    """
    if train and platform() != "tpu" and window**2 < _OUTSIDE:  # places are bytes
        return _noted(x, window, stride, padding)
    pads: Any = padding  # nn.max_pool annotates it as a string
    # Keyword arguments only, for an ONNX exporter's patch of nn.max_pool.
    return nn.max_pool(x, window_shape=(window, window), strides=(stride, stride), padding=pads)


def ceil_max_pool(
    x: Float[Array, "b h w c"], *, window: int = 3, stride: int = 2, train: bool = False
) -> Float[Array, "b h2 w2 c"]:
    """Max pooling whose output size rounds up as in Caffe (56 -> 28 -> 14 -> 7 for 3x3 s2).

    The missing last row and column are padded with -inf, which never wins.

    Returns:
      float[b, ceil((h - window) / stride) + 1, ..., c].
    References: Jia et al., Caffe, 2014 (pooling_layer.cpp).
    """

    def padding(size: int) -> tuple[int, int]:
        outputs = max(-(-(size - window) // stride), 0) + 1
        return 0, max((outputs - 1) * stride + window - size, 0)

    pads = (padding(x.shape[1]), padding(x.shape[2]))
    return max_pool(x, window=window, stride=stride, padding=pads, train=train)


# Place of windows outside, and place that pixels outside a window look for; they never match.
_NONE, _OUTSIDE = 255, 254


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def _noted(x: Float[Array, "b h w c"], window: int, stride: int, padding: Pads) -> jax.Array:
    return max_pool(x, window=window, stride=stride, padding=padding)


def _forward(
    x: Float[Array, "b h w c"], window: int, stride: int, padding: Pads
) -> tuple[jax.Array, tuple[UInt8[Array, "b h2 w2 c"], Float[Array, "0 h w"]]]:
    rows, columns = padding
    padded = jax.lax.pad(
        x, jnp.array(-jnp.inf, x.dtype), ((0, 0, 0), (*rows, 0), (*columns, 0), (0, 0, 0))
    )
    b, height, width, c = padded.shape
    h2, w2 = (height - window) // stride + 1, (width - window) // stride + 1
    largest, place = None, jnp.zeros((b, h2, w2, c), jnp.uint8)
    for i in range(window):
        for j in range(window):
            values = jax.lax.slice(
                padded,
                (0, i, j, 0),
                (b, i + stride * (h2 - 1) + 1, j + stride * (w2 - 1) + 1, c),
                (1, stride, stride, 1),
            )
            if largest is None:
                largest = values
                continue
            # Strictly larger: of equals the first wins, as in XLA, Caffe and PyTorch.
            place = jnp.where(values > largest, jnp.uint8(i * window + j), place)
            largest = jnp.maximum(largest, values)
    assert largest is not None  # a window has a place
    return largest, (place, jnp.zeros((0, *x.shape[1:3]), x.dtype))


def _backward(
    window: int, stride: int, padding: Pads, noted: tuple[jax.Array, jax.Array], g: jax.Array
) -> tuple[jax.Array]:
    """Each input gathers from the windows that contain it; nothing is scattered.

    Rows are taken in blocks of `stride` from the input's first row: row s of block k lies in windows
    k + d for a few offsets d, and is row s + top - stride d of them. Blocks starting at the padding
    would have to be cut to the input's size, which takes a GPU a third longer; XLA on CPUs is a seventh
    faster with something to cut off, so it gets one more block.
    """
    place, like = noted
    (b, h2, w2, c), (height, width) = g.shape, like.shape[1:]
    (top, _), (left, _) = padding
    more = int(platform() == "cpu")
    down, across = -(-height // stride) + more, -(-width // stride) + more
    rows, columns = (_offsets(window, stride, before) for before in (top, left))
    edges = (
        (0, 0),
        (-rows[0], max(down + rows[-1] - h2, 0)),
        (-columns[0], max(across + columns[-1] - w2, 0)),
        (0, 0),
    )
    place, g = jnp.pad(place, edges, constant_values=_NONE), jnp.pad(g, edges)
    total = None
    for back in rows:
        for aside in columns:
            start = (0, back - rows[0], aside - columns[0], 0)
            stop = (b, start[1] + down, start[2] + across, c)
            won, flowing = (
                jax.lax.slice(array, start, stop).reshape(b, down, 1, across, 1, c)
                for array in (place, g)
            )
            mine = _places(window, stride, top - stride * back, left - stride * aside)
            part = jnp.where(won == mine[:, None, :, None], flowing, jnp.zeros((), g.dtype))
            total = part if total is None else total + part
    assert total is not None  # a window has a place
    return (total.reshape(b, down * stride, across * stride, c)[:, :height, :width],)


def _offsets(window: int, stride: int, before: int) -> range:
    """Offsets from a block's own number to the windows that contain some row of the block."""
    return range(-((window - 1 - before) // stride), (stride - 1 + before) // stride + 1)


def _places(window: int, stride: int, row: int, column: int) -> UInt8[np.ndarray, "s s"]:
    """Place in a window of each pixel of a block whose first pixel is at row, column."""
    i, j = np.arange(stride)[:, None] + row, np.arange(stride) + column
    inside = (i >= 0) & (i < window) & (j >= 0) & (j < window)
    return np.where(inside, i * window + j, _OUTSIDE).astype(np.uint8)


_noted.defvjp(_forward, _backward)
