"""Objectives that estimate a position by a number, not by a score a class.

A head is linear and its scores are small at first, so a score counts in tens: 3.5 is 35 years. Losses
of an error count in tens, too. The gradient of a score is then about one, as it is of cross-entropy, and
learning rates and factors between tasks that suit the one suit the other; of scores in years, a head
learns ten times more slowly with Adam and is left behind.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ageflax.losses.objective import Objective

# Years that a score of one stands for.
UNIT = 10.0
# About the mean of faces in photographs, and how far from it they lie.
_FIRST_GUESS, _FIRST_DEVIATION = 35.0, 15.0
# Least and largest, in years, that a normal may have.
_DEVIATIONS = (1.0, 50.0)


@dataclasses.dataclass(frozen=True)
class _Estimate(Objective):
    @property
    def outputs(self) -> int:
        """See Objective: the estimate."""
        return 1

    @property
    def initial_bias(self) -> tuple[float, ...]:
        """35 years; from 0, the first steps would learn the mean and nothing else."""
        return (_FIRST_GUESS / UNIT,)

    @property
    def distribution(self) -> bool:
        """See Objective."""
        return False

    def probabilities(self, scores: Float[Array, "b o"]) -> Float[Array, "b k"]:
        """See Objective: the estimate in years, which may lie below 0 or above the last class."""
        return scores * UNIT


@dataclasses.dataclass(frozen=True)
class Absolute(_Estimate):
    """|estimate - y| in tens of years; y is not clipped to the last class."""

    def _loss(
        self, scores: Float[Array, "b o"], position: Float[Array, " b"]
    ) -> Float[Array, " b"]:
        return jnp.abs(scores[:, 0] - position / UNIT)


def huber(error: Float[Array, " b"], delta: float) -> Float[Array, " b"]:
    """error^2 / 2 up to |error| = delta, from there on delta (|error| - delta / 2)."""
    size = jnp.abs(error)
    within = jnp.minimum(size, delta)
    return within * (size - 0.5 * within)


@dataclasses.dataclass(frozen=True)
class Huber(_Estimate):
    """Huber's loss of the error in years, over ten.

    With delta = 1 it is the absolute error, less half a year, of all but the nearest faces; a larger
    one weighs large errors more, by a gradient up to delta times that of the absolute error.

    Attributes:
      delta: years from which the loss is linear.

    References: Huber, Robust estimation of a location parameter, Annals of Mathematical Statistics
      35(1), 1964.
    """

    delta: float = 1.0

    def _loss(
        self, scores: Float[Array, "b o"], position: Float[Array, " b"]
    ) -> Float[Array, " b"]:
        return huber(scores[:, 0] * UNIT - position, self.delta) / UNIT


@dataclasses.dataclass(frozen=True)
class Gaussian(Objective):
    """-log of a normal's density at y, in nats, per year: log(2 pi s^2) / 2 + (m - y)^2 / (2 s^2).

    Two scores a face: the mean m in tens of years, and log s^2, s in tens of years. s is held between
    1 and 50 years. Below, where labels are whole years, few faces would outweigh all others: the pull on
    m grows with 1 / s^2. And the loss, a density's, could turn negative, where a trainable balance of
    tasks has no minimum. Even so, where s is small it is curved some hundred times more than
    cross-entropy: train it with Adam, or clip gradients.

    Probabilities are the normal's mass in each one-year bin [k - 1/2, k + 1/2), of the first and the
    last in all that lies below and above.

    References: Nix & Weigend, Estimating the mean and variance of the target probability distribution,
      ICNN 1994.
    """

    @property
    def outputs(self) -> int:
        """See Objective: mean and logarithm of the variance."""
        return 2

    @property
    def initial_bias(self) -> tuple[float, ...]:
        """35 years, give or take 15."""
        return (_FIRST_GUESS / UNIT, 2.0 * math.log(_FIRST_DEVIATION / UNIT))

    def _normal(self, scores: Float[Array, "b o"]) -> tuple[Float[Array, " b"], Float[Array, " b"]]:
        """Mean in years, and log(s^2), s in years."""
        raw = scores[:, 1] + 2.0 * math.log(UNIT)
        held = jnp.clip(raw, 2.0 * math.log(_DEVIATIONS[0]), 2.0 * math.log(_DEVIATIONS[1]))
        # The clip's own gradient is zero outside, and a face that once strayed there would stay.
        return scores[:, 0] * UNIT, jax.lax.stop_gradient(held) + (raw - jax.lax.stop_gradient(raw))

    def _loss(
        self, scores: Float[Array, "b o"], position: Float[Array, " b"]
    ) -> Float[Array, " b"]:
        mean, log_variance = self._normal(scores)
        squares = jnp.square(mean - position) * jnp.exp(-log_variance)
        return 0.5 * (math.log(2.0 * math.pi) + log_variance + squares)

    def probabilities(self, scores: Float[Array, "b o"]) -> Float[Array, "b k"]:
        """See Objective."""
        mean, log_variance = self._normal(scores)
        edges = jnp.arange(1, self.classes, dtype=jnp.float32) - 0.5
        distance = (edges - mean[:, None]) * jnp.exp(-0.5 * log_variance)[:, None]
        below = jax.scipy.special.ndtr(distance)
        ends = jnp.ones_like(mean)[:, None]
        mass = jnp.concatenate([below, ends], 1) - jnp.concatenate([0.0 * ends, below], 1)
        # Rounding may leave a difference of two equals just below zero.
        return jnp.maximum(mass, 0.0)
