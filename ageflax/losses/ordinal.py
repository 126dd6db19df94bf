"""Objectives of ordered classes: one yes-or-no question a threshold, "is it beyond class k?"."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ageflax.losses.objective import Objective, nearest


@dataclasses.dataclass(frozen=True)
class _Thresholds(Objective):
    @property
    def outputs(self) -> int:
        """See Objective: one between two classes."""
        return self.classes - 1

    def _beyond(self, position: Float[Array, " b"]) -> Bool[Array, "b o"]:
        """Whether the class nearest to the label is beyond class k, for each threshold k."""
        return nearest(position, self.classes)[:, None] > jnp.arange(self.outputs)


def _questions(scores: Float[Array, "b o"], answers: Bool[Array, "b o"]) -> Float[Array, "b o"]:
    """Binary cross-entropies, -log sigmoid(score) where the answer is yes, else of -score."""
    return jax.nn.softplus(jnp.where(answers, -scores, scores))


@dataclasses.dataclass(frozen=True)
class Coral(_Thresholds):
    """Sum over thresholds k of the binary cross-entropy of P(y > k) = sigmoid(score_k), in nats.

    Thresholds share one weight vector. With the biases in descending order the P(y > k) descend too,
    and they do so at the loss's minimum, though not on every step of the way there: a P(y > k) above
    one before it is taken to equal that one, so that no class has a negative probability.

    All thresholds count the same (the paper's lambda_k = 1). The paper predicts by counting P(y > k)
    above 1/2, the median of the distribution; the most probable class may be another.

    References: Cao, Mirjalili & Raschka, Rank consistent ordinal regression for neural networks with
      application to age estimation, Pattern Recognition Letters 140, 2020.
    """

    @property
    def shared_weights(self) -> bool:
        """See Objective."""
        return True

    @property
    def initial_bias(self) -> tuple[float, ...]:
        """Evenly from 1 down to 1 / outputs, as in the authors' published layer."""
        return tuple((self.outputs - k) / self.outputs for k in range(self.outputs))

    def _loss(
        self, scores: Float[Array, "b o"], position: Float[Array, " b"]
    ) -> Float[Array, " b"]:
        return _questions(scores, self._beyond(position)).sum(1)

    def probabilities(self, scores: Float[Array, "b o"]) -> Float[Array, "b k"]:
        """See Objective; P(y > k - 1) - P(y > k)."""
        beyond = jax.nn.sigmoid(jax.lax.cummin(scores, axis=1))
        ends = jnp.ones_like(beyond[:, :1])
        return jnp.concatenate([ends, beyond], 1) - jnp.concatenate([beyond, 0.0 * ends], 1)


@dataclasses.dataclass(frozen=True)
class Corn(_Thresholds):
    """Sum of the binary cross-entropies of P(y > k | y >= k) = sigmoid(score_k), in nats.

    The sum is over a face's thresholds k <= y: a face of class y asks nothing of those after it. These
    are the paper's conditional training subsets, read face by face; the sum is -log P(y).

    The paper divides a batch's sum over all faces and thresholds by how many terms it has. Here the
    caller divides by the number of faces, which changes the scale and not where the minimum lies. (A
    mean over each face's own terms would move it: a face of class 0 would outweigh, at the first
    threshold, those it is to be told from.)

    References: Shi, Cao & Raschka, Deep neural networks for rank-consistent ordinal regression based on
      conditional probabilities, Pattern Analysis and Applications 26, 2023.
    """

    def _loss(
        self, scores: Float[Array, "b o"], position: Float[Array, " b"]
    ) -> Float[Array, " b"]:
        beyond = self._beyond(position)
        # y >= k is y > k - 1; every face is of class 0 or more.
        asked = jnp.pad(beyond[:, :-1], ((0, 0), (1, 0)), constant_values=True)
        return jnp.where(asked, _questions(scores, beyond), 0.0).sum(1)

    def probabilities(self, scores: Float[Array, "b o"]) -> Float[Array, "b k"]:
        """See Objective; P(y > 0) P(y > 1 | y >= 1) ... (1 - P(y > k | y >= k))."""
        # As sums of logarithms, with 0 for the question that the last class is not asked.
        reached = jnp.pad(jnp.cumsum(jax.nn.log_sigmoid(scores), 1), ((0, 0), (1, 0)))
        stops = jnp.pad(jax.nn.log_sigmoid(-scores), ((0, 0), (0, 1)))
        # They sum to one but for rounding, which the softmax takes away.
        return jax.nn.softmax(reached + stops)
