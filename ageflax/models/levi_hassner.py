"""The network of Levi & Hassner, 2015."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from ageflax.models.layers.activations import activate, gaussian, matched
from ageflax.models.layers.convolution import Conv
from ageflax.models.layers.pooling import ceil_max_pool
from ageflax.models.layers.response_norm import local_response_norm


class LeviHassner(nn.Module):
    """Three convolutions and two fully connected layers; 227x227 BGR less the mean in, 512 out.

    conv1 96 7x7 s4 - conv2 256 5x5 - conv3 384 3x3, each with ReLU and a 3x3 s2 max-pool that rounds
    up, the first two also with LRN; fc6 512, fc7 512, each with ReLU and dropout. No groups.

    Attributes:
      width: multiplier of every layer's features; 1 in the paper.
      norm: "lrn" (the paper's) after the first two pools, "batch" before each activation, or "none".
      activation: "relu" (the paper's), "selu", "elu", "leaky" or "prelu", see `activate`. With selu
        the dropout stays ordinary, not alpha dropout: the project that reports its gain (87.6 % for
        gender, up from 85.7, on one hold-out) changed only the activation.
      initialization: "gaussian", the paper's fixed std (.01 convolutions, .005 fully connected) with
        biases of 1 in conv2, fc6 and fc7; or "matched" to the activation (He's for relu, LeCun's for
        selu) with zero biases, for widths and input sizes at which the signal would vanish under the
        paper's.
      dropout: probability of dropping a feature of fc6 and fc7.
      dtype: dtype of the computation; parameters are float32.

    References: Levi & Hassner, Age and Gender Classification using CNNs, CVPRW 2015, and the authors'
      train_val.prototxt, which settles what the paper leaves open.
    """

    width: float = 1.0
    norm: str = "lrn"
    activation: str = "relu"
    initialization: str = "gaussian"
    dropout: float = 0.5
    dtype: jnp.dtype = jnp.dtype("float32")

    def _features(self, features: int) -> int:
        return max(round(features * self.width), 1)

    def _initializers(self, std: float, bias: float) -> dict[str, Any]:
        if self.initialization == "matched":
            return {"kernel_init": matched(self.activation), "bias_init": nn.initializers.zeros}
        return {"kernel_init": gaussian(std), "bias_init": nn.initializers.constant(bias)}

    def _activate(self, x: jax.Array, name: str, *, train: bool) -> jax.Array:
        if self.norm == "batch":
            # Always in float32: means over a batch lose too much in bfloat16.
            norm = nn.BatchNorm(momentum=0.99, epsilon=1e-5, dtype=jnp.float32, name=f"{name}_norm")
            x = norm(x.astype(jnp.float32), use_running_average=not train).astype(self.dtype)
        return activate(x, self.activation, name=f"{name}_prelu")

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], *, train: bool) -> Float[Array, "b f"]:
        """Features of fc7, from images in 0-255 less the mean, in the model's channel order."""
        convolutions = (
            # name, features, kernel, stride, padding, bias
            ("conv1", 96, 7, 4, 0, 0.0),
            ("conv2", 256, 5, 1, 2, 1.0),
            ("conv3", 384, 3, 1, 1, 0.0),
        )
        x = x.astype(self.dtype)
        for name, features, kernel, stride, padding, bias in convolutions:
            x = Conv(
                self._features(features),
                kernel,
                strides=stride,
                padding=padding,
                dtype=self.dtype,
                name=name,
                **self._initializers(0.01, bias),
            )(x, train=train)
            x = self._activate(x, name, train=train)
            x = ceil_max_pool(x, train=train)
            if self.norm == "lrn" and name != "conv3":
                x = local_response_norm(x, train=train)
        # Flattened H, W, C; Caffe flattens C, H, W, so its fc6 is permuted on import.
        x = x.reshape(x.shape[0], -1)
        for name in ("fc6", "fc7"):
            x = nn.Dense(
                self._features(512), dtype=self.dtype, name=name, **self._initializers(0.005, 1.0)
            )(x)
            x = self._activate(x, name, train=train)
            x = nn.Dropout(self.dropout, deterministic=not train, name=f"{name}_dropout")(x)
        return x
