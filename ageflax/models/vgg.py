"""VGG-16, the network of VGG-Face and DEX."""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from ageflax.models.layers.convolution import Conv
from ageflax.models.layers.pooling import max_pool

_fan_out = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
_STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # features, convolutions


class VGG16(nn.Module):
    """Thirteen 3x3 convolutions in five stages, two fully connected layers; 224x224 in, 4096 out.

    Layers have Caffe's names, conv1_1 to conv5_3, fc6 and fc7, as in the weights of VGG-Face and DEX.
    Caffe and torchvision flatten C, H, W before fc6, this network H, W, C, so an importer permutes fc6.
    torchvision first averages the last map to 7x7, which changes nothing at 224 pixels; here another
    input size means another fc6. Pools round down like torchvision's, where Caffe's round up; at 224
    pixels there is nothing to round.

    Attributes:
      width: multiplier of every layer's features.
      dropout: probability of dropping a feature of fc6 and fc7.
      dtype: dtype of the computation; parameters are float32.

    References: Simonyan & Zisserman, ICLR 2015 (configuration D); Parkhi et al., Deep Face Recognition,
      BMVC 2015; Rothe et al., DEX, ICCV Workshops 2015.
    """

    width: float = 1.0
    dropout: float = 0.5
    dtype: jnp.dtype = jnp.dtype("float32")

    def _features(self, features: int) -> int:
        return max(round(features * self.width), 1)

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], *, train: bool) -> Float[Array, "b f"]:
        """Features of fc7."""
        x = x.astype(self.dtype)
        for stage, (features, count) in enumerate(_STAGES, 1):
            for k in range(1, count + 1):
                x = Conv(
                    self._features(features),
                    3,
                    padding=1,
                    dtype=self.dtype,
                    kernel_init=_fan_out,
                    name=f"conv{stage}_{k}",
                )(x, train=train)
                x = nn.relu(x)
            x = max_pool(x, window=2, stride=2, train=train)
        x = x.reshape(x.shape[0], -1)
        for name in ("fc6", "fc7"):
            x = nn.Dense(
                self._features(4096),
                dtype=self.dtype,
                kernel_init=nn.initializers.normal(0.01),
                name=name,
            )(x)
            x = nn.Dropout(self.dropout, deterministic=not train, name=f"{name}_dropout")(
                nn.relu(x)
            )
        return x
