"""What all objectives share: positions on an axis, which labels are known, what is expected."""

import abc
import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

from ageflax.arrays import AnyArray


def known(labels: Num[AnyArray, " b"]) -> Bool[Array, " b"]:
    """Which faces have a label: a class that is not -1, years that are not NaN."""
    # NaN >= 0 is False.
    return jnp.asarray(labels) >= 0


def clipped(position: Float[Array, " b"], classes: int) -> Float[Array, " b"]:
    """Positions, those beyond the last class moved to it."""
    return jnp.clip(position, 0.0, float(classes - 1))


def nearest(position: Float[Array, " b"], classes: int) -> Int[Array, " b"]:
    """The class whose bin [k - 1/2, k + 1/2) holds a position; the ends are open."""
    return jnp.floor(clipped(position, classes) + 0.5).astype(jnp.int32)


def expected(probabilities: Float[Array, "b k"]) -> Float[Array, " b"]:
    """Position that a face is estimated at: the mean of its distribution.

    Args:
      probabilities: as of Objective.probabilities; of one column, the estimate itself.
    """
    if probabilities.shape[1] == 1:
        return probabilities[:, 0]
    # No matrix product: on TPUs that of float32 is by bfloat16, unless it is told otherwise.
    return (probabilities * jnp.arange(probabilities.shape[1], dtype=jnp.float32)).sum(1)


@dataclasses.dataclass(frozen=True)
class Objective(abc.ABC):
    """What one task's head learns; static, equal where all its attributes are.

    Classes lie at positions 0, 1, ... on an axis: groups in their order, or years. A label is int32, a
    class or -1 where unknown; or float32, years, fractions and all, or NaN where unknown.

    Attributes:
      classes: how many there are; 101 of years, 0 to 100.
    """

    classes: int

    @property
    @abc.abstractmethod
    def outputs(self) -> int:
        """Scores a face."""

    @property
    def shared_weights(self) -> bool:
        """Whether scores share one weight vector, and differ by their biases alone."""
        return False

    @property
    def initial_bias(self) -> tuple[float, ...] | None:
        """Where the head's biases start, one a score; None for zeros."""
        return None

    @property
    def distribution(self) -> bool:
        """Whether `probabilities` are such; False where they are one column, the position itself."""
        return True

    def loss(self, scores: Float[Array, "b o"], labels: Num[AnyArray, " b"]) -> Float[Array, " b"]:
        """Each face's loss. Of a face without a label it is finite and means nothing.

        Args:
          scores: of the head, `outputs` a face.
          labels: classes or years.
        """
        there = known(labels)
        # Both replaced before anything is computed: a NaN that is only dropped afterwards still has
        # a gradient, and it is NaN.
        position = jnp.where(there, jnp.asarray(labels).astype(jnp.float32), 0.0)
        return self._loss(jnp.where(there[:, None], scores, 0.0), position)

    @abc.abstractmethod
    def _loss(
        self, scores: Float[Array, "b o"], position: Float[Array, " b"]
    ) -> Float[Array, " b"]:
        """Each face's loss, at positions that are all known; they may lie beyond the last class."""

    @abc.abstractmethod
    def probabilities(self, scores: Float[Array, "b o"]) -> Float[Array, "b k"]:
        """Of each class; none negative, rows sum to one. Of one column, the estimated position."""
