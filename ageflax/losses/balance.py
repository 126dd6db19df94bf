"""From the tasks' losses to the one that is minimised."""

from collections.abc import Mapping, Set

import jax.numpy as jnp
from jaxtyping import Array, Float

from ageflax.losses.objective import Objective


def combined(
    per_task: Mapping[str, Float[Array, ""]], weights: Mapping[str, float]
) -> Float[Array, ""]:
    """Sum of the tasks' losses, each times its factor; one where it has none."""
    return jnp.stack([weights.get(task, 1.0) * loss for task, loss in per_task.items()]).sum()


def regressions(objectives: Mapping[str, Objective]) -> frozenset[str]:
    """Tasks whose loss is an error, not minus the logarithm of a probability."""
    return frozenset(task for task, each in objectives.items() if not each.distribution)


def balance_terms(log_variances: Mapping[str, Float[Array, ""]]) -> Float[Array, ""]:
    """What `balanced` adds to the weighted losses, sum of s / 2, so that weights do not vanish."""
    return jnp.stack([0.5 * s for s in log_variances.values()]).sum()


def balanced(
    per_task: Mapping[str, Float[Array, ""]],
    log_variances: Mapping[str, Float[Array, ""]],
    regression: Set[str] = frozenset(),
) -> Float[Array, ""]:
    """Sum over tasks of exp(-s) L + s / 2, or exp(-s) L / 2 + s / 2 of a regression.

    s = log sigma^2 of a task is trained with the weights, from 0. At its best, s = log 2L (log L of a
    regression): each task weighs as much as its loss is small. For regression this is the likelihood of
    a normal (of L1 and Huber errors, after its pattern); for classification it is the paper's
    approximation of a softmax whose scores are divided by sigma^2, and holds near sigma = 1.

    Args:
      per_task: losses, each a mean over its task's faces.
      log_variances: s of each of these tasks.
      regression: tasks that are regressions.

    References: Kendall, Gal & Cipolla, Multi-task learning using uncertainty to weigh losses, CVPR
      2018, equations 7 and 10.
    """
    weighted = [
        (0.5 if task in regression else 1.0) * jnp.exp(-log_variances[task]) * loss
        for task, loss in per_task.items()
    ]
    return jnp.stack(weighted).sum() + balance_terms({t: log_variances[t] for t in per_task})
