"""Objectives that estimate a position directly, not through a score per class.

A linear head starts with small scores, so scores are in tens of years: 3.5 is 35 years. Losses of an
error are in tens of years, too. A score's gradient is then about one, as with cross-entropy, and the
same learning rates and task weights suit both. With scores in years, Adam would train the head ten
times more slowly.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp

from ageflax.losses.objective import Objective, PerFace, Probabilities, Scores

# Years per unit of a score.
UNIT = 10.0
# Rough mean and standard deviation of ages in photographs.
_FIRST_GUESS, _FIRST_SIGMA = 35.0, 15.0
# Smallest and largest sigma of Gaussian, in years.
_SIGMAS = (1.0, 50.0)


@dataclasses.dataclass(frozen=True)
class _Estimate(Objective):
    @property
    def outputs(self) -> int:
        """See Objective; the estimate."""
        return 1

    @property
    def initial_bias(self) -> tuple[float, ...]:
        """35 years; from 0, the first steps would learn nothing but the mean."""
        return (_FIRST_GUESS / UNIT,)

    @property
    def distribution(self) -> bool:
        """See Objective."""
        return False

    def probabilities(self, scores: Scores) -> Probabilities:
        """See Objective; the estimate in years, possibly below 0 or above the last class."""
        return scores * UNIT


@dataclasses.dataclass(frozen=True)
class Absolute(_Estimate):
    """|estimate - y| in tens of years; y is not clipped to the last class."""

    def _loss(self, scores: Scores, position: PerFace) -> PerFace:
        return jnp.abs(scores[:, 0] - position / UNIT)


def huber(error: PerFace, delta: float) -> PerFace:
    """Huber's loss: error^2 / 2 up to |error| = delta, beyond it delta (|error| - delta / 2)."""
    size = jnp.abs(error)
    within = jnp.minimum(size, delta)
    return within * (size - 0.5 * within)


@dataclasses.dataclass(frozen=True)
class Huber(_Estimate):
    """Huber's loss of the error in years, divided by ten.

    With delta = 1 it is the absolute error less half a year, except for errors under a year. A larger
    delta penalises large errors more: their gradient is up to delta times that of the absolute error.

    Attributes:
      delta: error in years beyond which the loss is linear.

    References: Huber, Robust estimation of a location parameter, Annals of Mathematical Statistics
      35(1), 1964.
    """

    delta: float = 1.0

    def _loss(self, scores: Scores, position: PerFace) -> PerFace:
        return huber(scores[:, 0] * UNIT - position, self.delta) / UNIT


@dataclasses.dataclass(frozen=True)
class Gaussian(Objective):
    """-log density of a normal at y, in nats, per year: log(2 pi s^2) / 2 + (m - y)^2 / (2 s^2).

    Two scores per face: the mean m in tens of years, and log s^2 with sigma s in tens of years. s is
    clipped to 1 to 50 years. Below that, with labels in whole years, a few faces would outweigh all
    others, since the gradient of m grows with 1 / s^2. And the loss, being that of a density, could
    turn negative, where a trainable balance of tasks has no minimum. Even so, its curvature at small s
    is some hundred times that of cross-entropy: train it with Adam, or clip gradients.

    Probabilities are the normal's mass in each one-year bin [k - 1/2, k + 1/2); the first bin includes
    everything below, the last everything above.

    References: Nix & Weigend, Estimating the mean and variance of the target probability distribution,
      ICNN 1994.
    """

    @property
    def outputs(self) -> int:
        """See Objective; mean and log variance."""
        return 2

    @property
    def initial_bias(self) -> tuple[float, ...]:
        """Mean 35 years, sigma 15."""
        return (_FIRST_GUESS / UNIT, 2.0 * math.log(_FIRST_SIGMA / UNIT))

    def _normal(self, scores: Scores) -> tuple[PerFace, PerFace]:
        """Mean in years, and log s^2 with s in years."""
        raw = scores[:, 1] + 2.0 * math.log(UNIT)
        held = jnp.clip(raw, 2.0 * math.log(_SIGMAS[0]), 2.0 * math.log(_SIGMAS[1]))
        # Straight through: the clip's gradient is zero outside, so a face could never get back in.
        return scores[:, 0] * UNIT, jax.lax.stop_gradient(held) + (raw - jax.lax.stop_gradient(raw))

    def _loss(self, scores: Scores, position: PerFace) -> PerFace:
        mean, log_variance = self._normal(scores)
        squares = jnp.square(mean - position) * jnp.exp(-log_variance)
        return 0.5 * (math.log(2.0 * math.pi) + log_variance + squares)

    def probabilities(self, scores: Scores) -> Probabilities:
        """See Objective."""
        mean, log_variance = self._normal(scores)
        edges = jnp.arange(1, self.classes, dtype=jnp.float32) - 0.5
        distance = (edges - mean[:, None]) * jnp.exp(-0.5 * log_variance)[:, None]
        below = jax.scipy.special.ndtr(distance)
        ends = jnp.ones_like(mean)[:, None]
        mass = jnp.concatenate([below, ends], 1) - jnp.concatenate([0.0 * ends, below], 1)
        # Rounding may leave a difference just below zero.
        return jnp.maximum(mass, 0.0)
