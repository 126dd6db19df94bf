"""Activations, and how wide weights are drawn so that a signal keeps its size through them."""

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
# Variance of a weight times its fan-in. Of the rectifiers: two over one plus the slope squared, since
# half of a symmetric signal passes whole (He et al. 2015). SELU: one (Klambauer et al. 2017). ELU has no
# fixed point; 1.55 keeps a unit normal's second moment, 1 / E[elu(x)^2].
_GAINS = {
    "relu": 2.0,
    "selu": 1.0,
    "elu": 1.55,
    "leaky": 2.0 / (1.0 + _LEAK**2),
    "prelu": 2.0 / (1.0 + _PRELU_START**2),
}


class PReLU(nn.Module):
    """max(x, 0) + slope min(x, 0), with a learned slope a channel.

    References: He et al., Delving Deep into Rectifiers, ICCV 2015.
    """

    @nn.compact
    def __call__(self, x: Float[Array, "b ... c"]) -> Float[Array, "b ... c"]:
        """Elementwise."""
        start = nn.initializers.constant(_PRELU_START)
        slope = self.param("slope", start, x.shape[-1:], jnp.float32).astype(x.dtype)
        return jnp.maximum(x, 0) + slope * jnp.minimum(x, 0)


def activate(x: jax.Array, activation: str, *, name: str) -> jax.Array:
    """One of relu, selu, elu, leaky (slope .01) and prelu; to be called within a compact method.

    Args:
      x: of any shape.
      activation: which.
      name: of the module that holds prelu's slopes.
    """
    return PReLU(name=name)(x) if activation == "prelu" else _FUNCTIONS[activation](x)


def matched(activation: str) -> nn.initializers.Initializer:
    """Zero-mean normal weights under which the activation keeps a signal's size."""
    return nn.initializers.variance_scaling(_GAINS[activation], "fan_in", "truncated_normal")
