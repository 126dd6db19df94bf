"""Local response normalisation as in Caffe."""

import jax
import jax.numpy as jnp
import numpy as np
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

    `size` is the whole window and divides alpha. TensorFlow's `depth_radius` is half the window and its
    alpha is not divided, so 5 and 1e-4 give another network there.

    Args:
      x: features.
      size: channels per window.
      alpha: see above.
      beta: see above.
      train: True takes the form whose derivative is fast on CPUs and GPUs; within `traced_for` it is
        taken at test, too. TPUs keep the form for exporters.

    References: Krizhevsky et al., ImageNet Classification with Deep CNNs, NIPS 2012; Caffe's lrn_layer.
    """
    radius, channels = size // 2, x.shape[-1]
    # In float32: squares of pixels near 255 need more digits than bfloat16 has.
    exact = x.astype(np.promote_types(x.dtype, np.float32))
    squares = jnp.square(exact)
    if platform() != "tpu" and (train or platform()):
        # A few shifted additions fuse with their surroundings, which reduce_window does not. On a TPU
        # the sums would be written to memory; its compiler predicts a slower step for Levi.
        padded = jnp.pad(squares, ((0, 0), (0, 0), (0, 0), (radius, radius)))
        shifted = [padded[..., k : k + channels] for k in range(size)]
        window_sum = sum(shifted[1:], shifted[0])
    else:
        # One layer to exporters, one operation to a TPU. The 0.0 is a Python float: with an array,
        # reduce_window has no derivative.
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
