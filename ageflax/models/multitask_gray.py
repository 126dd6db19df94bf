"""Shared convolutions of the multi-task age and gender project."""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from ageflax.models.layers.convolution import Conv
from ageflax.models.layers.pooling import ceil_max_pool
from ageflax.models.layers.response_norm import local_response_norm


class MultitaskGray(nn.Module):
    """Three convolutions over one grey channel; 128x128 in, 64 maps flattened out.

    conv1 32 7x7 s2 p2 - conv2 64 5x5 - conv3 64 3x3 s1 p2, each with ReLU and max-pool, the first two
    also with LRN. 128 - 63 - 31 - 31 - 15 - 17 - 8, so 8 * 8 * 64 = 4,096 features. The project's two
    towers, 512 -> 100 -> classes, are `model.head_hidden=(512, 100)`.

    The project does not specify the pools (here 3x3 stride 2, rounding up, as in Levi and Hassner's
    network), conv2's padding (2, which keeps the size), the constants of LRN (Caffe's) and the
    initialisation (He's). With Caffe's constants, LRN bends activations of some hundreds, typical for
    pixels of 0-255 less their mean; with pixels divided by their std it does almost nothing.

    Attributes:
      width: multiplier of every layer's features.
      norm: "lrn" or "none".
      dtype: dtype of the computation; parameters are float32.

    References: the multi-task project's README; Krizhevsky et al., NIPS 2012, for LRN.
    """

    width: float = 1.0
    norm: str = "lrn"
    dtype: jnp.dtype = jnp.dtype("float32")

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], *, train: bool) -> Float[Array, "b f"]:
        """Flattened maps of conv3.

        Raises:
          ValueError: the images have more than one channel.
        """
        if x.shape[-1] != 1:
            raise ValueError(f"{x.shape[-1]} channels: multitask_gray needs data.channels=grey")
        x = x.astype(self.dtype)
        layers = (("conv1", 32, 7, 2, 2), ("conv2", 64, 5, 1, 2), ("conv3", 64, 3, 1, 2))
        for name, features, kernel, stride, padding in layers:
            x = Conv(
                max(round(features * self.width), 1),
                kernel,
                strides=stride,
                padding=padding,
                dtype=self.dtype,
                kernel_init=nn.initializers.he_normal(),
                name=name,
            )(x, train=train)
            x = ceil_max_pool(nn.relu(x), train=train)
            if self.norm == "lrn" and name != "conv3":
                x = local_response_norm(x, train=train)
        return x.reshape(x.shape[0], -1)
