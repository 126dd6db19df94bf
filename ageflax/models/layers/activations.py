"""Activations, and initialisers of the weights before them."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

_LEAK, _PRELU_START = 0.01, 0.25

_FUNCTIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "relu": nn.relu,
    "selu": nn.selu,
    "elu": nn.elu,
    "leaky": lambda x: nn.leaky_relu(x, _LEAK),
}
# Variance of a weight times its fan-in. For rectifiers 2 / (1 + slope^2), since half of a symmetric
# signal passes unchanged (He et al. 2015); 1 for SELU (Klambauer et al. 2017). ELU is not homogeneous,
# so no gain fits every scale; 1.55 = 1 / E[elu(x)^2] fits a unit normal.
_GAINS = {
    "relu": 2.0,
    "selu": 1.0,
    "elu": 1.55,
    "leaky": 2.0 / (1.0 + _LEAK**2),
    "prelu": 2.0 / (1.0 + _PRELU_START**2),
}


class PReLU(nn.Module):
    """max(x, 0) + slope min(x, 0), with a learned slope per channel.

    References: He et al., Delving Deep into Rectifiers, ICCV 2015.
    """

    @nn.compact
    def __call__(self, x: Float[Array, "b ... c"]) -> Float[Array, "b ... c"]:
        """Applies it elementwise."""
        start = nn.initializers.constant(_PRELU_START)
        slope = self.param("slope", start, x.shape[-1:], jnp.float32).astype(x.dtype)
        return jnp.maximum(x, 0) + slope * jnp.minimum(x, 0)


def activate(x: jax.Array, activation: str, *, name: str) -> jax.Array:
    """Applies an activation elementwise; call it within a compact method.

    Args:
      x: features of any shape, channels last.
      activation: "relu", "selu", "elu" (alpha 1), "leaky" (slope .01) or "prelu" (learned, from .25).
      name: name of the module with prelu's slopes.

    References: Klambauer et al., Self-Normalizing Neural Networks, NIPS 2017 (selu); Clevert et al.,
      Fast and Accurate Deep Network Learning by ELUs, ICLR 2016; Maas et al., Rectifier Nonlinearities
      Improve Neural Network Acoustic Models, ICML 2013 (leaky); He et al., ICCV 2015 (prelu).
    """
    return PReLU(name=name)(x) if activation == "prelu" else _FUNCTIONS[activation](x)


def matched(activation: str) -> nn.initializers.Initializer:
    """Zero-mean normal, truncated at two std, under which a signal keeps its size.

    Args:
      activation: activation before the layer, see `activate`.
    """
    return nn.initializers.variance_scaling(_GAINS[activation], "fan_in", "truncated_normal")


def gaussian(std: float) -> nn.initializers.Initializer:
    """Zero-mean normal of a fixed standard deviation, Caffe's "gaussian" filler."""
    return nn.initializers.normal(stddev=std)
