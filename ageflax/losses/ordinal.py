"""Objectives for ordered classes: one yes-or-no question per threshold, "is y beyond class k?"."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from ageflax.losses.objective import Objective, PerFace, Probabilities, Scores, nearest


@dataclasses.dataclass(frozen=True)
class _Thresholds(Objective):
    @property
    def outputs(self) -> int:
        """See Objective; one threshold between each two classes."""
        return self.classes - 1

    def _beyond(self, position: PerFace) -> Bool[Array, "b o"]:
        """True where the class nearest to the label is beyond threshold k."""
        return nearest(position, self.classes)[:, None] > jnp.arange(self.outputs)


def _questions(scores: Scores, answers: Bool[Array, "b o"]) -> Scores:
    """Binary cross-entropies: -log sigmoid(score) if the answer is yes, else -log sigmoid(-score)."""
    return jax.nn.softplus(jnp.where(answers, -scores, scores))


@dataclasses.dataclass(frozen=True)
class Coral(_Thresholds):
    """Sum over thresholds k of the binary cross-entropy of P(y > k) = sigmoid(score_k), in nats.

    Thresholds share one weight vector. If the biases descend, so do the P(y > k); this holds at the
    loss's minimum, but not at every step on the way. A P(y > k) larger than the one before it is
    lowered to that one, so no class gets a negative probability.

    All thresholds weigh the same (the paper's lambda_k = 1). The paper predicts by counting P(y > k)
    above 1/2, the median of the distribution, which may differ from the most probable class.

    References: Cao, Mirjalili & Raschka, Rank consistent ordinal regression for neural networks with
      application to age estimation, Pattern Recognition Letters 140, 2020.
    """

    @property
    def shared_weights(self) -> bool:
        """See Objective."""
        return True

    @property
    def initial_bias(self) -> tuple[float, ...]:
        """Evenly spaced from 1 down to 1 / outputs, as in the authors' published layer."""
        return tuple((self.outputs - k) / self.outputs for k in range(self.outputs))

    def _loss(self, scores: Scores, position: PerFace) -> PerFace:
        return _questions(scores, self._beyond(position)).sum(1)

    def probabilities(self, scores: Scores) -> Probabilities:
        """See Objective; P(y > k - 1) - P(y > k)."""
        beyond = jax.nn.sigmoid(jax.lax.cummin(scores, axis=1))
        ends = jnp.ones_like(beyond[:, :1])
        return jnp.concatenate([ends, beyond], 1) - jnp.concatenate([beyond, 0.0 * ends], 1)


@dataclasses.dataclass(frozen=True)
class Corn(_Thresholds):
    """Sum of the binary cross-entropies of P(y > k | y >= k) = sigmoid(score_k), in nats.

    The sum runs over a face's thresholds k <= y: a face of class y says nothing about later ones. These
    are the paper's conditional training subsets, face by face; the sum is -log P(y).

    The paper divides a batch's sum over all faces and thresholds by its number of terms. Here the
    caller divides by the number of faces, which changes the scale but not the minimum. (A mean over
    each face's own terms would move it: at the first threshold a face of class 0 would outweigh the
    faces it must be told from.)

    References: Shi, Cao & Raschka, Deep neural networks for rank-consistent ordinal regression based on
      conditional probabilities, Pattern Analysis and Applications 26, 2023.
    """

    def _loss(self, scores: Scores, position: PerFace) -> PerFace:
        beyond = self._beyond(position)
        # y >= k is y > k - 1, which always holds for k = 0.
        asked = jnp.pad(beyond[:, :-1], ((0, 0), (1, 0)), constant_values=True)
        return jnp.where(asked, _questions(scores, beyond), 0.0).sum(1)

    def probabilities(self, scores: Scores) -> Probabilities:
        """See Objective; P(y > 0) P(y > 1 | y >= 1) ... (1 - P(y > k | y >= k))."""
        # Sums of logarithms, with 0 for the question that the last class does not have.
        reached = jnp.pad(jnp.cumsum(jax.nn.log_sigmoid(scores), 1), ((0, 0), (1, 0)))
        stops = jnp.pad(jax.nn.log_sigmoid(-scores), ((0, 0), (0, 1)))
        # They sum to one up to rounding, which the softmax removes.
        return jax.nn.softmax(reached + stops)
