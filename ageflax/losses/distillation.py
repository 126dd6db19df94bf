"""Loss of a student that answers as its teachers do."""

import jax
import jax.numpy as jnp

from ageflax.losses.objective import PerFace, Probabilities

_LEAST = 1e-30  # probabilities of zero have no logarithm


def divergence(teacher: Probabilities, student: Probabilities, temperature: float) -> PerFace:
    """T^2 KL(t || s) in nats, where t and s are p^(1 / T) of teacher and student, summing to one.

    For softmax heads, p^(1 / T) is the softmax of scores divided by T. The factor T^2 keeps the gradient
    of one size over temperatures.

    Args:
      teacher: probabilities per class.
      student: probabilities per class, which are learned.
      temperature: T; above 1, rare classes count more.

    References: Hinton, Vinyals & Dean, Distilling the knowledge in a neural network, 2015.
    """

    def logs(probabilities: Probabilities) -> Probabilities:
        return jax.nn.log_softmax(jnp.log(jnp.maximum(probabilities, _LEAST)) / temperature)

    told = logs(teacher)
    return temperature**2 * (jnp.exp(told) * (told - logs(student))).sum(1)
