"""Layers that Caffe defines otherwise than every later framework, and its initialisers."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float


def ceil_max_pool(x: Float[Array, "b h w c"], *, window: int = 3, stride: int = 2) -> jax.Array:
    """Max pooling whose output size rounds up, as Caffe's does (56 -> 28 -> 14 -> 7 for 3x3 s2).

    The missing last row and column are padded with -inf, so they never win.

    Returns:
      float[b, ceil((h - window) / stride) + 1, ..., c].
    References: Jia et al., Caffe, 2014 (pooling_layer.cpp).
    """

    def padding(size: int) -> tuple[int, int]:
        outputs = max(-(-(size - window) // stride), 0) + 1
        return 0, max((outputs - 1) * stride + window - size, 0)

    pads: Any = (padding(x.shape[1]), padding(x.shape[2]))  # annotated as a string there
    # Keyword arguments only: the ONNX exporter's patch of nn.max_pool takes no others.
    return nn.max_pool(
        x,
        window_shape=(window, window),
        strides=(stride, stride),
        padding=pads,
    )


def local_response_norm(
    x: Float[Array, "b h w c"], *, size: int = 5, alpha: float = 1e-4, beta: float = 0.75
) -> jax.Array:
    """Local response normalisation across channels, as Caffe computes it.

    y_c = x_c / (1 + alpha / size * sum of x_j^2 over the `size` channels around c) ^ beta

    `size` is the whole window and divides alpha. TensorFlow's `depth_radius` is half the window and
    its alpha is not divided: passing it 5 and 1e-4 is another network.

    References: Krizhevsky et al., ImageNet Classification with Deep CNNs, NIPS 2012; Caffe's lrn_layer.
    """
    radius = size // 2
    # A Python 0.0, not an array: reduce_window over bfloat16 does not differentiate otherwise.
    window_sum = jax.lax.reduce_window(
        jnp.square(x),
        0.0,
        jax.lax.add,
        window_dimensions=(1, 1, 1, size),
        window_strides=(1, 1, 1, 1),
        padding=((0, 0), (0, 0), (0, 0), (radius, radius)),
    )
    scale = 1.0 + (alpha / size) * window_sum
    # scale^-0.75 by square roots: pow is several times slower on CPUs.
    inverse = jax.lax.rsqrt(scale * jnp.sqrt(scale)) if beta == 0.75 else scale**-beta
    return x * inverse


def gaussian(deviation: float) -> nn.initializers.Initializer:
    """Zero-mean normal of a fixed standard deviation, Caffe's "gaussian" filler."""
    return nn.initializers.normal(stddev=deviation)
