"""Small ResNet of a project on Adience."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from ageflax.models.layers.batch_norm import BatchNorm
from ageflax.models.layers.convolution import Conv
from ageflax.models.layers.pooling import max_pool

_he = nn.initializers.he_normal()


class ResNetSmall(nn.Module):
    """Two plain convolutions, then bottlenecks in three stages; 227x227 in, 1024 out.

    conv 32 3x3, pool 2x2; conv 64 3x3, pool 2x2; 3 bottlenecks to 256, 4 to 512 and 6 to 1024, the
    first of each stage with stride 2 in its first 1x1 and in its shortcut; global average.

    227 - 225 - 112 - 110 - 55 - 28 - 14 - 7; 64 - 62 - 31 - 29 - 14 - 7 - 4 - 2.

    As in the project's code, with the unpadded stem and the biases before the norms. It reports 85.4 %
    for gender on 1,472 held-out faces, against 85.7 for Levi and Hassner's network with the same recipe,
    and nothing on age. Different here: He's initialisation instead of TensorFlow's default, and
    PyTorch's constants of batch norm (.9 and 1e-5 instead of .99 and 1e-3), since in a short run a mean
    with momentum .99 does not settle.

    Attributes:
      width: multiplier of every layer's features.
      dropout: probability of dropping a pooled feature.
      dtype: dtype of the computation; parameters are float32.

    References: zealerww/gender_age_classification, cnn_model.py (net_resnet); He et al., CVPR 2016.
    """

    width: float = 1.0
    dropout: float = 0.0
    dtype: jnp.dtype = jnp.dtype("float32")

    def _conv(
        self, x: jax.Array, features: int, kernel: int, name: str, *, stride: int = 1, pad: int = 0
    ) -> jax.Array:
        width = max(round(features * self.width), 1)
        return Conv(
            width, kernel, strides=stride, padding=pad, dtype=self.dtype, kernel_init=_he, name=name
        )(x)

    def _bottleneck(
        self, x: jax.Array, features: int, stride: int, name: str, *, train: bool
    ) -> jax.Array:
        y = x
        layers = ((features, 1, stride, 0), (features, 3, 1, 1), (4 * features, 1, 1, 0))
        for k, (width, kernel, step, pad) in enumerate(layers, 1):
            y = self._conv(y, width, kernel, f"{name}_conv{k}", stride=step, pad=pad)
            y = BatchNorm(name=f"{name}_bn{k}")(y, use_running_average=not train)
            y = nn.relu(y) if k < 3 else y
        if x.shape != y.shape:
            x = self._conv(x, 4 * features, 1, f"{name}_shortcut_conv", stride=stride)
            x = BatchNorm(name=f"{name}_shortcut_bn")(x, use_running_average=not train)
        return nn.relu(x + y)

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], *, train: bool) -> Float[Array, "b f"]:
        """Features averaged over the last map."""
        x = x.astype(self.dtype)
        for name, features in (("conv1", 32), ("conv2", 64)):
            x = nn.relu(self._conv(x, features, 3, name))
            x = max_pool(x, window=2, stride=2, train=train)
        for stage, (features, blocks) in enumerate(((64, 3), (128, 4), (256, 6)), 1):
            for k in range(blocks):
                x = self._bottleneck(x, features, 1 if k else 2, f"block{stage}_{k}", train=train)
        x = x.mean((1, 2))
        return nn.Dropout(self.dropout, deterministic=not train)(x)
