"""A trunk with one linear head a task."""

from collections.abc import Mapping

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from ageflax.models.layers import gaussian


class Heads(nn.Module):
    """One linear classifier a task over shared features.

    Attributes:
      classes: number of classes per task.
      dtype: of the computation; logits come out as float32.
    """

    classes: Mapping[str, int]
    dtype: jnp.dtype = jnp.dtype("float32")

    @nn.compact
    def __call__(self, features: Float[Array, "b f"]) -> dict[str, Float[Array, "b _"]]:
        """Logits per task."""
        return {
            task: nn.Dense(classes, dtype=self.dtype, kernel_init=gaussian(0.01), name=task)(
                features
            ).astype(jnp.float32)
            for task, classes in self.classes.items()
        }


class Network(nn.Module):
    """What is trained and shipped: `trunk` turns an image into features, `heads` into logits.

    Parameters live under "trunk" and "heads", so that transfer, learning-rate multipliers and
    importers can name either without knowing the other.
    """

    trunk: nn.Module
    heads: Heads

    def __call__(
        self, x: Float[Array, "b h w c"], *, train: bool = False
    ) -> dict[str, Float[Array, "b _"]]:
        """Logits per task, of images with the mean subtracted, in the model's channel order."""
        return self.heads(self.trunk(x, train=train))
