"""Local response normalisation and initialisers, as Caffe has them."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float

from ageflax.models.layers.platform import platform


def local_response_norm(
    x: Float[Array, "b h w c"],
    *,
    size: int = 5,
    alpha: float = 1e-4,
    beta: float = 0.75,
    train: bool = False,
) -> jax.Array:
    """Local response normalisation across channels, as Caffe computes it.

    y_c = x_c / (1 + alpha / size * sum of x_j^2 over the `size` channels around c) ^ beta

    `size` is the whole window and divides alpha. TensorFlow's `depth_radius` is half the window and
    its alpha is not divided: passing it 5 and 1e-4 is another network.

    Args:
      x: features.
      size: channels of a window.
      alpha: as above.
      beta: as above.
      train: compute in the form that is fast with its derivative on CPUs and GPUs, as within
        `traced_for` at test too. TPUs keep the operation of exporters.

    References: Krizhevsky et al., ImageNet Classification with Deep CNNs, NIPS 2012; Caffe's lrn_layer.
    """
    radius, channels = size // 2, x.shape[-1]
    # In float32: squares of pixels near 255 have more digits than bfloat16.
    exact = x.astype(np.promote_types(x.dtype, np.float32))
    squares = jnp.square(exact)
    if platform() != "tpu" and (train or platform()):
        # A few shifted additions fuse with what surrounds them, which reduce_window does not; on a
        # TPU their sums are written to memory, and its compiler expects Levi's step to be slower.
        padded = jnp.pad(squares, ((0, 0), (0, 0), (0, 0), (radius, radius)))
        shifted = [padded[..., k : k + channels] for k in range(size)]
        window_sum = sum(shifted[1:], shifted[0])
    else:
        # What exporters know as one layer, and a TPU as one operation. A Python 0.0: of an array it
        # does not differentiate.
        window_sum = jax.lax.reduce_window(
            squares,
            0.0,
            jax.lax.add,
            window_dimensions=(1, 1, 1, size),
            window_strides=(1, 1, 1, 1),
            padding=((0, 0), (0, 0), (0, 0), (radius, radius)),
        )
    scale = 1.0 + (alpha / size) * window_sum
    # scale^-0.75 by square roots: pow is several times slower on CPUs.
    inverse = jax.lax.rsqrt(scale * jnp.sqrt(scale)) if beta == 0.75 else scale**-beta
    return (exact * inverse).astype(x.dtype)


def gaussian(deviation: float) -> nn.initializers.Initializer:
    """Zero-mean normal of a fixed standard deviation, Caffe's "gaussian" filler."""
    return nn.initializers.normal(stddev=deviation)
