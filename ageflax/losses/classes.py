"""Objectives with one score per class, whose softmax is the distribution; and Expectation."""

import dataclasses

import jax
import jax.numpy as jnp

from ageflax.losses.objective import (
    Objective,
    PerFace,
    Probabilities,
    Scores,
    clipped,
    expected,
    nearest,
)
from ageflax.losses.regression import huber


def _at(values: Probabilities, position: PerFace) -> PerFace:
    """Value of each row at the class nearest to its position."""
    index = nearest(position, values.shape[1])
    return jnp.take_along_axis(values, index[:, None], axis=1)[:, 0]


@dataclasses.dataclass(frozen=True)
class _Softmax(Objective):
    @property
    def outputs(self) -> int:
        """See Objective; one per class."""
        return self.classes

    def probabilities(self, scores: Scores) -> Probabilities:
        """See Objective."""
        return jax.nn.softmax(scores)


@dataclasses.dataclass(frozen=True)
class CrossEntropy(_Softmax):
    """-log p_y in nats, where y is the class nearest to the label; over years this is DEX.

    With smoothing e, the target is (1 - e) at y plus e / classes at every class, y included.

    Attributes:
      smoothing: e, share of the target that is spread evenly.

    References: Rothe et al., DEX, ICCV Workshops 2015; Szegedy et al., Rethinking the Inception
      architecture, CVPR 2016, section 7 (smoothing).
    """

    smoothing: float = 0.0

    def _loss(self, scores: Scores, position: PerFace) -> PerFace:
        logs = jax.nn.log_softmax(scores)
        loss = -_at(logs, position)
        if self.smoothing:
            loss = (1.0 - self.smoothing) * loss - self.smoothing * logs.mean(1)
        return loss


@dataclasses.dataclass(frozen=True)
class LabelDistribution(_Softmax):
    """KL(t || p) in nats, where t is a discretised normal around the label and p the softmax.

    t_k is proportional to exp(-(k - y)^2 / (2 s^2)), s = sigma + growth y, and sums to one over the
    classes, so near an end its mass stays within them: with sigma 2.5 and no growth the target of a
    newborn has a mean of 1.7 years. y may lie between two classes. The cross-entropy of t and p has
    the same gradient; the divergence is zero where p = t.

    Attributes:
      sigma: standard deviation of the normal at the first class or age 0, in classes or years.
      growth: growth of the standard deviation per class or year.

    References: Gao et al., Deep label distribution learning with label ambiguity, IEEE Transactions on
      Image Processing 26(6), 2017.
    """

    sigma: float
    growth: float = 0.0

    def _loss(self, scores: Scores, position: PerFace) -> PerFace:
        centre = clipped(position, self.classes)[:, None]
        deviation = self.sigma + self.growth * centre if self.growth else self.sigma
        distance = (jnp.arange(self.classes, dtype=jnp.float32) - centre) / deviation
        # Logarithms throughout: far from the label t underflows to 0, and 0 log 0 would be NaN.
        log_target = jax.nn.log_softmax(-0.5 * jnp.square(distance))
        return (jnp.exp(log_target) * (log_target - jax.nn.log_softmax(scores))).sum(1)


@dataclasses.dataclass(frozen=True)
class MeanVariance(_Softmax):
    """Cross-entropy + mean_weight * (m - y)^2 / 2 + variance_weight * v.

    m and v are the mean and variance of the softmax over the classes' positions. The cross-entropy
    takes the class nearest to y, the squared error y itself.

    Attributes:
      mean_weight: the paper's lambda_1.
      variance_weight: the paper's lambda_2.

    References: Pan et al., Mean-variance loss for deep age estimation from a face, CVPR 2018,
      equations 3, 5 and 7; the weights 0.2 and 0.05 are the paper's.
    """

    mean_weight: float = 0.2
    variance_weight: float = 0.05

    def _loss(self, scores: Scores, position: PerFace) -> PerFace:
        logs = jax.nn.log_softmax(scores)
        probabilities = jnp.exp(logs)
        mean = expected(probabilities)
        # Around the mean: the difference E[k^2] - E[k]^2 loses its digits in float32 near 100.
        distance = jnp.arange(self.classes, dtype=jnp.float32) - mean[:, None]
        variance = (probabilities * jnp.square(distance)).sum(1)
        error = mean - clipped(position, self.classes)
        return (
            -_at(logs, position)
            + self.mean_weight * 0.5 * jnp.square(error)
            + self.variance_weight * variance
        )


@dataclasses.dataclass(frozen=True)
class Expectation(Objective):
    """Another objective + weight * smooth L1 error of its expected position, in classes or years.

    Smooth L1 is error^2 / 2 up to one class or year, |error| - 1/2 beyond. A distribution is learned by
    its shape, but mostly its mean is scored; this term acts on the mean alone.

    Attributes:
      inner: objective that defines the distribution.
      weight: factor of the added term.

    References: Gao et al., Age estimation using expectation of label distribution learning, IJCAI 2018
      (with L1).
    """

    inner: Objective
    weight: float

    @property
    def outputs(self) -> int:
        """See Objective."""
        return self.inner.outputs

    @property
    def shared_weights(self) -> bool:
        """See Objective."""
        return self.inner.shared_weights

    @property
    def initial_bias(self) -> tuple[float, ...] | None:
        """See Objective."""
        return self.inner.initial_bias

    def _loss(self, scores: Scores, position: PerFace) -> PerFace:
        error = expected(self.probabilities(scores)) - clipped(position, self.classes)
        return self.inner._loss(scores, position) + self.weight * huber(error, 1.0)

    def probabilities(self, scores: Scores) -> Probabilities:
        """See Objective."""
        return self.inner.probabilities(scores)
