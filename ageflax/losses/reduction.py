"""Reductions: from the loss of each face to that of a batch, and from tasks to the total."""

from collections.abc import Mapping, Set

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Num

from ageflax.arrays import AnyArray
from ageflax.losses.objective import Objective, known, nearest


def face_weights(
    objective: Objective,
    labels: Num[AnyArray, " b"],
    mask: Bool[AnyArray, " b"],
    class_weights: Float[AnyArray, " k"] | None = None,
) -> Float[Array, " b"]:
    """Weight of each face: its class weight; zero if masked or without a label.

    Args:
      objective: the task's objective.
      labels: classes, or years, which take the weight of the nearest whole year.
      mask: False for rows that do not count.
      class_weights: weight per class of the objective; None for ones.
    """
    counted = jnp.asarray(mask) & known(labels)
    if class_weights is None:
        return counted.astype(jnp.float32)
    position = jnp.where(counted, jnp.asarray(labels).astype(jnp.float32), 0.0)
    each = jnp.asarray(class_weights)[nearest(position, objective.classes)]
    return jnp.where(counted, each, 0.0)


def weighted_loss(
    objective: Objective,
    scores: Float[Array, "b o"],
    labels: Num[AnyArray, " b"],
    weights: Float[Array, " b"],
) -> Float[Array, ""]:
    """Sum over faces of weight times loss; a face of weight zero adds nothing.

    Args:
      objective: the task's objective.
      scores: outputs of its head.
      labels: classes or years.
      weights: see face_weights.
    """
    return jnp.where(weights > 0, weights * objective.loss(scores, labels), 0.0).sum()


def combined(
    per_task: Mapping[str, Float[Array, ""]], weights: Mapping[str, float]
) -> Float[Array, ""]:
    """Weighted sum of the tasks' losses; a task without a weight counts once."""
    return jnp.stack([weights.get(task, 1.0) * loss for task, loss in per_task.items()]).sum()


def regressions(objectives: Mapping[str, Objective]) -> frozenset[str]:
    """Tasks whose loss is an error, not a negative log-likelihood."""
    return frozenset(task for task, each in objectives.items() if not each.distribution)


def balance_terms(log_variances: Mapping[str, Float[Array, ""]]) -> Float[Array, ""]:
    """Regulariser of `balanced`: the sum of s / 2, which keeps the weights from vanishing."""
    return jnp.stack([0.5 * s for s in log_variances.values()]).sum()


def balanced(
    per_task: Mapping[str, Float[Array, ""]],
    log_variances: Mapping[str, Float[Array, ""]],
    regression: Set[str] = frozenset(),
) -> Float[Array, ""]:
    """Sum over tasks of exp(-s) L + s / 2; for a regression exp(-s) L / 2 + s / 2.

    s = log sigma^2 is trained per task, starting at 0. Its optimum is log 2L (log L for a regression),
    so the smaller a task's loss, the larger its weight. For a regression this is the likelihood of a
    normal distribution (for L1 and Huber errors, by analogy); for classification it is the paper's
    approximation to a softmax with scores divided by sigma^2, which holds near sigma = 1.

    Args:
      per_task: loss per task, a mean over the task's faces.
      log_variances: s per task.
      regression: tasks that are regressions.

    References: Kendall, Gal & Cipolla, Multi-task learning using uncertainty to weigh losses, CVPR
      2018, equations 7 and 10.
    """
    weighted = [
        (0.5 if task in regression else 1.0) * jnp.exp(-log_variances[task]) * loss
        for task, loss in per_task.items()
    ]
    return jnp.stack(weighted).sum() + balance_terms({t: log_variances[t] for t in per_task})


def class_counts(
    labels: Num[np.ndarray, " n"], classes: int, draws: Num[np.ndarray, " n"] | None = None
) -> Num[np.ndarray, " k"]:
    """Faces per class; years count for the nearest whole year, those beyond the last for the last.

    Args:
      labels: classes or years.
      classes: number of classes.
      draws: expected draws of each face in an epoch; None for one.
    """
    there = labels >= 0
    index = np.floor(np.clip(labels[there].astype(np.float64), 0, classes - 1) + 0.5)
    counted = None if draws is None else draws[there]
    return np.bincount(index.astype(np.int64), counted, minlength=classes)


def class_weights(counts: Num[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
    """float32[k], weight of a face per class, chosen so that all classes weigh the same in total.

    n / (present * count) for n faces in `present` non-empty classes. The mean over faces is one, so
    the learning rate need not change. An empty class gets one: such a class is trained only where
    labels come from elsewhere, and a zero would silently drop it. A class with very few faces gets a
    very large weight, which is common over years.
    """
    present = counts > 0
    even = counts.sum() / max(present.sum(), 1)
    return np.where(present, even / np.where(present, counts, 1), 1.0).astype(np.float32)
