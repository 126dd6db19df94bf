"""From each face's loss to a batch's: which faces count, and how much."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Num

from ageflax.arrays import AnyArray
from ageflax.losses.objective import Objective, known, nearest


def face_weights(
    objective: Objective,
    labels: Num[AnyArray, " b"],
    mask: Bool[AnyArray, " b"],
    class_weights: Float[AnyArray, " k"] | None = None,
) -> Float[Array, " b"]:
    """What each face counts: its class's weight, and nothing where masked or without a label.

    Args:
      objective: of the task.
      labels: classes, or years, which have the weight of the nearest whole one.
      mask: False for rows that count for nothing.
      class_weights: one a class of the objective; ones where not given.
    """
    counted = jnp.asarray(mask) & known(labels)
    if class_weights is None:
        return counted.astype(jnp.float32)
    position = jnp.where(counted, jnp.asarray(labels).astype(jnp.float32), 0.0)
    each = jnp.asarray(class_weights)[nearest(position, objective.classes)]
    return jnp.where(counted, each, 0.0)


def weighted_sum(
    objective: Objective,
    scores: Float[Array, "b o"],
    labels: Num[AnyArray, " b"],
    mask: Bool[AnyArray, " b"],
    class_weights: Float[AnyArray, " k"] | None = None,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Sum over the counted faces of weight times loss, and the sum of their weights.

    What is in a row that does not count, NaN included, changes neither value nor gradient.

    Args:
      objective: of the task.
      scores: of its head.
      labels: as of face_weights, and so are the others.
      mask: likewise.
      class_weights: likewise.
    """
    weights = face_weights(objective, labels, mask, class_weights)
    counted = jnp.asarray(mask) & known(labels)
    losses = objective.loss(jnp.where(counted[:, None], scores, 0.0), labels)
    return jnp.where(counted, weights * losses, 0.0).sum(), weights.sum()


def class_counts(labels: Num[np.ndarray, " n"], classes: int) -> Int[np.ndarray, " k"]:
    """Faces of each class; years are of the nearest whole one, those above the last of the last."""
    there = labels[labels >= 0].astype(np.float64)
    index = np.floor(np.clip(there, 0, classes - 1) + 0.5).astype(np.int64)
    return np.bincount(index, minlength=classes)


def class_weights(counts: Num[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
    """float32[k], what a face of each class counts so that all classes count the same together.

    n / (present * count), of n faces in `present` classes that have any; its mean over the faces is
    one, so the learning rate need not change. A class without faces gets one: training meets it only
    where labels come from elsewhere, and there a zero would silently drop it. A class of very few faces
    weighs very much, which over years is common.
    """
    present = counts > 0
    even = counts.sum() / max(present.sum(), 1)
    return np.where(present, even / np.maximum(counts, 1), 1.0).astype(np.float32)
