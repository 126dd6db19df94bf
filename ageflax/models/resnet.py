"""ResNets in torchvision's layout, so that its weights fit."""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from ageflax.models.layers.batch_norm import BatchNorm
from ageflax.models.layers.convolution import Conv
from ageflax.models.layers.pooling import max_pool

_fan_out = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


def _conv(features: int, kernel: int, stride: int, dtype: jnp.dtype, name: str) -> Conv:
    # Same padding on both sides; "SAME" pads a strided convolution more on one side.
    return Conv(
        features,
        kernel,
        strides=stride,
        padding=(kernel - 1) // 2,
        use_bias=False,
        dtype=dtype,
        kernel_init=_fan_out,
        name=name,
    )


class _Block(nn.Module):
    """Residual block: two 3x3 convolutions, or 1x1, 3x3 and 1x1 to four times the features.

    A bottleneck's stride is in its 3x3, as in torchvision (v1.5); the paper has it in the first 1x1.
    """

    features: int
    stride: int
    bottleneck: bool
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], *, train: bool) -> Float[Array, "b h2 w2 c2"]:
        f, stride = self.features, self.stride
        layers = [(f, 3, stride), (f, 3, 1)]
        if self.bottleneck:
            layers = [(f, 1, 1), (f, 3, stride), (4 * f, 1, 1)]
        y = x
        for k, (features, kernel, step) in enumerate(layers, 1):
            y = _conv(features, kernel, step, self.dtype, f"conv{k}")(y, train=train)
            y = BatchNorm(name=f"bn{k}")(y, use_running_average=not train)
            if k < len(layers):
                y = nn.relu(y)
        if x.shape != y.shape:
            x = _conv(y.shape[-1], 1, stride, self.dtype, "downsample_conv")(x, train=train)
            x = BatchNorm(name="downsample_bn")(x, use_running_average=not train)
        return nn.relu(x + y)


class ResNet(nn.Module):
    """Base of the ResNets; subclasses set `blocks`, the number per stage, and `bottleneck`.

    Layers have torchvision's names with underscores for the dots within a block's name: layer1.0.conv1
    is layer1_0/conv1 and layer2.0.downsample.1 is layer2_0/downsample_bn.

    Attributes:
      width: multiplier of every layer's features; 1 in the paper.
      stem: "imagenet", 7x7 stride 2 and 3x3 stride 2 max-pool; or "small", 5x5 stride 2 without a
        pool, for inputs of about 64 to 112 pixels (not in torchvision).
      dropout: probability of dropping a pooled feature.
      dtype: dtype of the computation; parameters are float32.
    """

    width: float = 1.0
    stem: str = "imagenet"
    dropout: float = 0.0
    dtype: jnp.dtype = jnp.dtype("float32")

    blocks = (2, 2, 2, 2)
    bottleneck = False

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], *, train: bool) -> Float[Array, "b f"]:
        """Features averaged over the last map: 512 (2048 with bottlenecks) times the width."""
        base = max(round(64 * self.width), 1)
        x = x.astype(self.dtype)
        x = _conv(base, 5 if self.stem == "small" else 7, 2, self.dtype, "conv1")(x, train=train)
        x = nn.relu(BatchNorm(name="bn1")(x, use_running_average=not train))
        if self.stem != "small":
            x = max_pool(x, window=3, stride=2, padding=((1, 1), (1, 1)), train=train)
        for stage, count in enumerate(self.blocks):
            for k in range(count):
                stride = 2 if stage and not k else 1
                block = _Block(
                    base * 2**stage,
                    stride,
                    self.bottleneck,
                    self.dtype,
                    name=f"layer{stage + 1}_{k}",
                )
                x = block(x, train=train)
        x = x.mean((1, 2))
        return nn.Dropout(self.dropout, deterministic=not train)(x)


class ResNet18(ResNet):
    """Eight blocks of two 3x3 convolutions; 224x224 RGB in, 512 out; attributes: see ResNet.

    References: He et al., Deep Residual Learning for Image Recognition, CVPR 2016; torchvision's
      resnet.py, which settles padding, stride and initialisation.
    """


class ResNet34(ResNet):
    """Sixteen blocks of two 3x3 convolutions; 224x224 RGB in, 512 out.

    References: see ResNet18.
    """

    blocks = (3, 4, 6, 3)


class ResNet50(ResNet):
    """Sixteen bottlenecks; 224x224 RGB in, 2048 out.

    References: see ResNet18.
    """

    blocks = (3, 4, 6, 3)
    bottleneck = True
