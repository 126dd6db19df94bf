"""Objectives with a score a class, whose softmax is the distribution."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ageflax.losses.objective import Objective, clipped, expected, nearest


def _at(values: Float[Array, "b k"], position: Float[Array, " b"]) -> Float[Array, " b"]:
    """Each row's value at the class nearest to its position."""
    index = nearest(position, values.shape[1])
    return jnp.take_along_axis(values, index[:, None], axis=1)[:, 0]


@dataclasses.dataclass(frozen=True)
class _Softmax(Objective):
    @property
    def outputs(self) -> int:
        """See Objective: one a class."""
        return self.classes

    def probabilities(self, scores: Float[Array, "b o"]) -> Float[Array, "b k"]:
        """See Objective."""
        return jax.nn.softmax(scores)


@dataclasses.dataclass(frozen=True)
class CrossEntropy(_Softmax):
    """-log p_y in nats, y the class nearest to the label; over years it is DEX.

    Smoothed, the target is (1 - e) at y plus e / classes everywhere, at y too.

    Attributes:
      smoothing: e, the share of the target that is spread evenly.

    References: Rothe et al., DEX, ICCV Workshops 2015; Szegedy et al., Rethinking the Inception
      architecture, CVPR 2016, section 7 (smoothing).
    """

    smoothing: float = 0.0

    def _loss(
        self, scores: Float[Array, "b o"], position: Float[Array, " b"]
    ) -> Float[Array, " b"]:
        logs = jax.nn.log_softmax(scores)
        loss = -_at(logs, position)
        if self.smoothing:
            loss = (1.0 - self.smoothing) * loss - self.smoothing * logs.mean(1)
        return loss


@dataclasses.dataclass(frozen=True)
class LabelDistribution(_Softmax):
    """KL(t || p) in nats: from a normal around the label, discretised, to the softmax.

    t_k is proportional to exp(-(k - y)^2 / (2 deviation^2)) and sums to one over the classes, so that
    near an end all of it lies on this side. y may lie between two classes. The cross-entropy of the two
    has the same gradient; the divergence is zero where p = t.

    Attributes:
      deviation: of the normal, in classes or years.

    References: Gao et al., Deep label distribution learning with label ambiguity, IEEE Transactions on
      Image Processing 26(6), 2017.
    """

    deviation: float

    def _loss(
        self, scores: Float[Array, "b o"], position: Float[Array, " b"]
    ) -> Float[Array, " b"]:
        centre = clipped(position, self.classes)[:, None]
        distance = (jnp.arange(self.classes, dtype=jnp.float32) - centre) / self.deviation
        # In logarithms throughout: far from the label t underflows to 0, and 0 log 0 would be NaN.
        log_target = jax.nn.log_softmax(-0.5 * jnp.square(distance))
        return (jnp.exp(log_target) * (log_target - jax.nn.log_softmax(scores))).sum(1)


@dataclasses.dataclass(frozen=True)
class MeanVariance(_Softmax):
    """Cross-entropy + mean_weight * (m - y)^2 / 2 + variance_weight * v.

    m and v are mean and variance of the softmax over the classes' positions. The cross-entropy is of
    the class nearest to y, the squared error of y itself.

    Attributes:
      mean_weight: the paper's lambda_1.
      variance_weight: the paper's lambda_2.

    References: Pan et al., Mean-variance loss for deep age estimation from a face, CVPR 2018,
      equations 3, 5 and 7; 0.2 and 0.05 are theirs.
    """

    mean_weight: float = 0.2
    variance_weight: float = 0.05

    def _loss(
        self, scores: Float[Array, "b o"], position: Float[Array, " b"]
    ) -> Float[Array, " b"]:
        logs = jax.nn.log_softmax(scores)
        probabilities = jnp.exp(logs)
        mean = expected(probabilities)
        # About the mean, not E[k^2] - E[k]^2, whose difference drowns in float32 near 100.
        distance = jnp.arange(self.classes, dtype=jnp.float32) - mean[:, None]
        variance = (probabilities * jnp.square(distance)).sum(1)
        error = mean - clipped(position, self.classes)
        return (
            -_at(logs, position)
            + self.mean_weight * 0.5 * jnp.square(error)
            + self.variance_weight * variance
        )
