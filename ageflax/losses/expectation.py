"""A term on the expected position, for any objective with a distribution."""

import dataclasses

from jaxtyping import Array, Float

from ageflax.losses.objective import Objective, clipped, expected
from ageflax.losses.regression import huber


@dataclasses.dataclass(frozen=True)
class Expectation(Objective):
    """Another objective + weight * the smooth L1 error of its expected position, in classes or years.

    Smooth L1 is error^2 / 2 up to one class or year, |error| - 1/2 beyond. A distribution is learned
    by its shape; what is scored is mostly its mean, and this term sees that alone.

    Attributes:
      inner: gives the distribution.
      weight: of the term.

    References: Gao et al., Age estimation using expectation of label distribution learning, IJCAI 2018
      (there L1).
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

    def _loss(
        self, scores: Float[Array, "b o"], position: Float[Array, " b"]
    ) -> Float[Array, " b"]:
        error = expected(self.probabilities(scores)) - clipped(position, self.classes)
        return self.inner._loss(scores, position) + self.weight * huber(error, 1.0)

    def probabilities(self, scores: Float[Array, "b o"]) -> Float[Array, "b k"]:
        """See Objective."""
        return self.inner.probabilities(scores)
