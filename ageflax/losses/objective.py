"""Base class of all objectives, with positions of classes on an axis."""

import abc
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Num

from ageflax.arrays import AnyArray

Scores = Float[Array, "b o"]
PerFace = Float[Array, " b"]
Probabilities = Float[Array, "b k"]


def known(labels: Num[AnyArray, " b"]) -> Bool[Array, " b"]:
    """True where a face has a label: a class other than -1, or years other than NaN."""
    # NaN >= 0 is False.
    return jnp.asarray(labels) >= 0


def clipped(position: PerFace, classes: int) -> PerFace:
    """Clips positions to those of the first and the last class."""
    return jnp.clip(position, 0.0, float(classes - 1))


def nearest(position: PerFace, classes: int) -> Int[Array, " b"]:
    """Class whose bin [k - 1/2, k + 1/2) holds a position; the two end bins are open."""
    return jnp.floor(clipped(position, classes) + 0.5).astype(jnp.int32)


def expected(probabilities: Probabilities) -> PerFace:
    """Estimated position of each face: the mean of its distribution.

    Args:
      probabilities: see Objective.probabilities; a single column is the estimate itself.
    """
    if probabilities.shape[1] == 1:
        return probabilities[:, 0]
    # Not a matrix product: TPUs compute those of float32 in bfloat16 by default.
    return (probabilities * jnp.arange(probabilities.shape[1], dtype=jnp.float32)).sum(1)


def median(probabilities: Probabilities) -> PerFace:
    """Position above and below which half of each distribution lies.

    A class k is spread evenly over k - 1/2 to k + 1/2: those below the median count whole, its own up to
    the median, all others not at all.

    Args:
      probabilities: see Objective.probabilities; a column per class.
    """
    classes = probabilities.shape[1]
    below = jnp.asarray(np.triu(np.ones((classes, classes), np.float32), 1))
    under = jnp.matmul(probabilities, below, precision=jax.lax.Precision.HIGHEST)
    missing = 0.5 * probabilities.sum(1, keepdims=True) - under
    return jnp.clip(missing / jnp.maximum(probabilities, 1e-30), 0.0, 1.0).sum(1) - 0.5


@dataclasses.dataclass(frozen=True)
class Objective(abc.ABC):
    """Objective of one task's head; static, and equal where all attributes are.

    Classes lie at positions 0, 1, ... on an axis: groups in order, or years. A label is either an int32
    class, -1 if unknown, or float32 years, possibly fractional, NaN if unknown.

    Attributes:
      classes: number of classes; 101 for years, 0 to 100.
    """

    classes: int

    @property
    @abc.abstractmethod
    def outputs(self) -> int:
        """Scores per face."""

    @property
    def shared_weights(self) -> bool:
        """True if all scores share one weight vector and differ only in their biases."""
        return False

    @property
    def initial_bias(self) -> tuple[float, ...] | None:
        """Initial bias per score of the head; None for zeros."""
        return None

    @property
    def distribution(self) -> bool:
        """True if `probabilities` has a column per class; False if its one column is the position."""
        return True

    def loss(self, scores: Scores, labels: Num[AnyArray, " b"]) -> PerFace:
        """Loss of each face; finite but meaningless for a face without a label.

        Args:
          scores: outputs of the head, `outputs` per face.
          labels: classes or years.
        """
        there = known(labels)
        # Replaced before the computation: a NaN dropped afterwards would still have a gradient of NaN.
        position = jnp.where(there, jnp.asarray(labels).astype(jnp.float32), 0.0)
        return self._loss(jnp.where(there[:, None], scores, 0.0), position)

    @abc.abstractmethod
    def _loss(self, scores: Scores, position: PerFace) -> PerFace:
        """Loss of each face; all positions are known, and may lie beyond the last class."""

    @abc.abstractmethod
    def probabilities(self, scores: Scores) -> Probabilities:
        """Probability per class, rows summing to one; or the estimated position in one column."""
