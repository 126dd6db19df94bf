"""The network of Levi & Hassner, 2015."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from ageflax.models.layers.activations import activate, matched
from ageflax.models.layers.convolution import Conv
from ageflax.models.layers.pooling import ceil_max_pool
from ageflax.models.layers.response_norm import gaussian, local_response_norm


class LeviHassner(nn.Module):
    """Three convolutions and two fully connected layers; 227x227 BGR less the mean in, 512 out.

    conv1 96 7x7 s4 - conv2 256 5x5 - conv3 384 3x3, each ReLU then 3x3 s2 max-pool rounding up, the
    first two then LRN; fc6 512, fc7 512, each ReLU and dropout. Without groups.

    Attributes:
      width: multiplies every layer's features; the paper's network is 1.
      norm: "lrn" (the paper's) after the first two pools, "batch" before each activation, or "none".
      activation: "relu" (the paper's), "selu", "elu", "leaky" or "prelu", see `activations`. With selu
        the dropout stays the ordinary one, not alpha dropout: the project that reports its gain (87.6 %
        by gender for 85.7, on one hold-out) changed the activation alone.
      initialization: "gaussian", the paper's fixed deviations (.01 convolutions, .005 fully
        connected) with biases of 1 in conv2, fc6 and fc7; or "matched" to the activation (He's for
        relu, LeCun's for selu) with zero biases, for widths and sizes for which the paper's deviations
        let the signal vanish.
      dropout: probability of dropping a feature of fc6 and fc7.
      dtype: of the computation; parameters are float32.

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

    def _initializers(self, deviation: float, bias: float) -> dict[str, Any]:
        if self.initialization == "matched":
            return {"kernel_init": matched(self.activation), "bias_init": nn.initializers.zeros}
        return {
            "kernel_init": gaussian(deviation),
            "bias_init": nn.initializers.constant(bias),
        }

    def _activate(self, x: jax.Array, name: str, *, train: bool) -> jax.Array:
        if self.norm == "batch":
            # In float32 whatever the computation's dtype: means over a batch lose too much in bfloat16.
            norm = nn.BatchNorm(momentum=0.99, epsilon=1e-5, dtype=jnp.float32, name=f"{name}_norm")
            x = norm(x.astype(jnp.float32), use_running_average=not train).astype(self.dtype)
        return activate(x, self.activation, name=f"{name}_prelu")

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], *, train: bool) -> Float[Array, "b f"]:
        """Features of fc7, from images with the mean subtracted, in 0-255 and the model's order."""
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
        # H, W, C order; Caffe flattens C, H, W, so its fc6 must be permuted on import.
        x = x.reshape(x.shape[0], -1)
        for name in ("fc6", "fc7"):
            x = nn.Dense(
                self._features(512), dtype=self.dtype, name=name, **self._initializers(0.005, 1.0)
            )(x)
            x = self._activate(x, name, train=train)
            x = nn.Dropout(self.dropout, deterministic=not train, name=f"{name}_dropout")(x)
        return x
