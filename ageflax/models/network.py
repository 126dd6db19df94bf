"""A trunk with one head per task."""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from ageflax.models.layers.activations import gaussian


@dataclasses.dataclass(frozen=True)
class Head:
    """Last layer of a task.

    Attributes:
      outputs: number of scores per face.
      shared_weights: True for one weight vector for all scores, which differ only in their biases
        (CORAL).
      initial_bias: initial bias per score; empty for zeros.
    """

    outputs: int
    shared_weights: bool = False
    initial_bias: tuple[float, ...] = ()


class _Thresholds(nn.Module):
    """x . w + b_k: one projection per face with `outputs` biases."""

    outputs: int
    bias_init: nn.initializers.Initializer
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: Float[Array, "b f"]) -> Float[Array, "b k"]:
        kernel = self.param("kernel", gaussian(0.01), (x.shape[-1], 1), jnp.float32)
        bias = self.param("bias", self.bias_init, (self.outputs,), jnp.float32)
        return x.astype(self.dtype) @ kernel.astype(self.dtype) + bias.astype(self.dtype)


class Heads(nn.Module):
    """One classifier per task over shared features: linear, or with hidden layers of its own.

    Attributes:
      tasks: last layer of each task.
      hidden: widths of the fully connected layers before it, each followed by ReLU and dropout; every
        task has its own.
      dropout: probability of dropping a hidden feature.
      dtype: dtype of the computation; scores are float32.
    """

    tasks: Mapping[str, Head]
    hidden: tuple[int, ...] = ()
    dropout: float = 0.5
    dtype: jnp.dtype = jnp.dtype("float32")

    def _last(self, task: str, head: Head, x: jax.Array) -> jax.Array:
        bias = nn.initializers.zeros
        if head.initial_bias:
            bias = nn.initializers.constant(jnp.array(head.initial_bias, jnp.float32))
        if head.shared_weights:
            return _Thresholds(head.outputs, bias_init=bias, dtype=self.dtype, name=task)(x)
        return nn.Dense(
            head.outputs, dtype=self.dtype, kernel_init=gaussian(0.01), bias_init=bias, name=task
        )(x)

    @nn.compact
    def __call__(
        self, features: Float[Array, "b f"], *, train: bool = False
    ) -> dict[str, Float[Array, "b _"]]:
        """Scores per task."""
        scores = {}
        for task, head in self.tasks.items():
            x = features
            for k, width in enumerate(self.hidden):
                x = nn.Dense(
                    width,
                    dtype=self.dtype,
                    kernel_init=nn.initializers.he_normal(),
                    name=f"{task}_hidden_{k}",
                )(x)
                x = nn.Dropout(self.dropout, deterministic=not train)(nn.relu(x))
            scores[task] = self._last(task, head, x).astype(jnp.float32)
        return scores


class Network(nn.Module):
    """The whole network: `trunk` maps images to features, `heads` features to scores.

    Parameters are under "trunk" and "heads", so transfer, learning-rate multipliers and importers can
    name one without knowing the other.
    """

    trunk: nn.Module
    heads: Heads

    def __call__(
        self, x: Float[Array, "b h w c"], *, train: bool = False, train_trunk: bool = True
    ) -> dict[str, Float[Array, "b _"]]:
        """Scores per task.

        Args:
          x: images with the mean subtracted, in the model's channel order.
          train: True turns dropout on and normalises by the batch's own statistics.
          train_trunk: False runs the trunk as at test even so, for a frozen trunk.
        """
        return self.heads(self.trunk(x, train=train and train_trunk), train=train)

    def features(self, x: Float[Array, "b h w c"]) -> Float[Array, "b f"]:
        """Features of images at test, the input of the heads."""
        return self.trunk(x, train=False)

    def classify(
        self, features: Float[Array, "b f"], *, train: bool = False
    ) -> dict[str, Float[Array, "b _"]]:
        """Scores per task, from features."""
        return self.heads(features, train=train)
