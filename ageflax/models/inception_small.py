"""Small Inception network, about as large as Levi and Hassner's."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from ageflax.models.layers.batch_norm import BatchNorm
from ageflax.models.layers.convolution import Conv
from ageflax.models.layers.pooling import max_pool

_he = nn.initializers.he_normal()
# GoogLeNet's modules: features of the 1x1 branch, of the 3x3 and the 5x5 branch (reduced, out), and of
# the pooled branch.
_MODULES = (
    ("3a", 64, (96, 128), (16, 32), 32),
    ("3b", 128, (128, 192), (32, 96), 64),
    ("4a", 192, (96, 208), (16, 48), 64),
    ("4b", 160, (112, 224), (24, 64), 64),
    ("4e", 256, (160, 320), (32, 128), 128),
)


class InceptionSmall(nn.Module):
    """GoogLeNet's stem and five of its nine modules, with batch norm; 224x224 in, 832 out.

    conv 64 7x7 s2, pool; conv 64 1x1, conv 192 3x3, pool; modules 3a, 3b, pool, 4a, 4b, 4e; global
    average. Pools are 3x3 stride 2, padded by one. 224 - 112 - 56 - 28 - 14; 64 - 32 - 16 - 8 - 4.

    A project on Adience (zealerww/gender_age_classification) reports no significant improvement of an
    inception-like network over Levi and Hassner's, but its code lacks that network, so its modules are
    unknown. These are GoogLeNet's, cut at the 14x14 maps, with batch norm before every ReLU and without
    auxiliary classifiers.

    Attributes:
      width: multiplier of every layer's features.
      dropout: probability of dropping a pooled feature.
      dtype: dtype of the computation; parameters are float32.

    References: Szegedy et al., Going Deeper with Convolutions, CVPR 2015; Ioffe & Szegedy, Batch
      Normalization, ICML 2015.
    """

    width: float = 1.0
    dropout: float = 0.4
    dtype: jnp.dtype = jnp.dtype("float32")

    def _conv(
        self, x: jax.Array, features: int, kernel: int, name: str, *, train: bool, stride: int = 1
    ) -> jax.Array:
        x = Conv(
            max(round(features * self.width), 1),
            kernel,
            strides=stride,
            padding=(kernel - 1) // 2,
            use_bias=False,
            dtype=self.dtype,
            kernel_init=_he,
            name=f"{name}_conv",
        )(x, train=train)
        return nn.relu(BatchNorm(name=f"{name}_bn")(x, use_running_average=not train))

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], *, train: bool) -> Float[Array, "b f"]:
        """Features averaged over the last map."""

        def pool(x: jax.Array, stride: int) -> jax.Array:
            return max_pool(x, window=3, stride=stride, padding=((1, 1), (1, 1)), train=train)

        x = x.astype(self.dtype)
        x = pool(self._conv(x, 64, 7, "stem1", train=train, stride=2), 2)
        x = self._conv(x, 64, 1, "stem2", train=train)
        x = pool(self._conv(x, 192, 3, "stem3", train=train), 2)
        for name, one, three, five, pooled in _MODULES:
            if name == "4a":
                x = pool(x, 2)
            branches = [self._conv(x, one, 1, f"{name}_1x1", train=train)]
            for kernel, (reduced, features) in ((3, three), (5, five)):
                y = self._conv(x, reduced, 1, f"{name}_{kernel}x{kernel}_reduce", train=train)
                y = self._conv(y, features, kernel, f"{name}_{kernel}x{kernel}", train=train)
                branches.append(y)
            branches.append(self._conv(pool(x, 1), pooled, 1, f"{name}_pool", train=train))
            x = jnp.concatenate(branches, axis=-1)
        x = x.mean((1, 2))
        return nn.Dropout(self.dropout, deterministic=not train)(x)
