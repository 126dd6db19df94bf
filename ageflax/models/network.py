"""A trunk with one head a task."""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from ageflax.models.layers.response_norm import gaussian


@dataclasses.dataclass(frozen=True)
class Head:
    """A task's last layer.

    Attributes:
      outputs: scores a face.
      shared_weights: one weight vector for all scores, which differ by their biases alone (CORAL).
      initial_bias: a value a score; zeros where empty.
    """

    outputs: int
    shared_weights: bool = False
    initial_bias: tuple[float, ...] = ()


class _Thresholds(nn.Module):
    """x . w + b_k: one score a face, against `outputs` thresholds."""

    outputs: int
    bias_init: nn.initializers.Initializer
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: Float[Array, "b f"]) -> Float[Array, "b k"]:
        kernel = self.param("kernel", gaussian(0.01), (x.shape[-1], 1), jnp.float32)
        bias = self.param("bias", self.bias_init, (self.outputs,), jnp.float32)
        return x.astype(self.dtype) @ kernel.astype(self.dtype) + bias.astype(self.dtype)


class Heads(nn.Module):
    """One classifier a task over shared features: linear, or with hidden layers of its own.

    Attributes:
      tasks: the last layer of each task.
      hidden: features of the fully connected layers before it, each followed by ReLU and dropout; a
        tower of its own for every task.
      dropout: probability of dropping a hidden feature.
      dtype: of the computation; scores come out as float32.
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
    """What is trained and shipped: `trunk` turns an image into features, `heads` into scores.

    Parameters live under "trunk" and "heads", so that transfer, learning-rate multipliers and
    importers can name either without knowing the other.
    """

    trunk: nn.Module
    heads: Heads

    def __call__(
        self, x: Float[Array, "b h w c"], *, train: bool = False, train_trunk: bool = True
    ) -> dict[str, Float[Array, "b _"]]:
        """Scores per task, of images with the mean subtracted, in the model's channel order.

        Args:
          x: images.
          train: dropout on, batch statistics of the batch.
          train_trunk: False runs the trunk as at test all the same; a frozen one does not train.
        """
        return self.heads(self.trunk(x, train=train and train_trunk), train=train)

    def features(self, x: Float[Array, "b h w c"]) -> Float[Array, "b f"]:
        """What the heads see of images, at test."""
        return self.trunk(x, train=False)

    def classify(
        self, features: Float[Array, "b f"], *, train: bool = False
    ) -> dict[str, Float[Array, "b _"]]:
        """Scores per task, of features."""
        return self.heads(features, train=train)
