"""Training objectives, averaged over the labelled faces of a batch only."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from ageflax.structs import AnyArray


def cross_entropy(
    logits: Float[Array, "b c"], labels: Int[AnyArray, " b"], mask: Bool[AnyArray, " b"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Softmax cross-entropy, -log p_label, over the faces that have a label.

    Args:
      logits: unnormalised scores.
      labels: class indices, negative where unknown.
      mask: False for rows that count for nothing.

    Returns:
      Sum over the counted faces (nats) and their number.
    """
    counted = mask & (labels >= 0)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, jnp.maximum(labels, 0))
    return jnp.where(counted, losses, 0.0).sum(), counted.sum().astype(jnp.float32)


def total(
    logits: dict[str, Float[Array, "b _"]],
    labels: Mapping[str, Int[AnyArray, " b"]],
    mask: Bool[AnyArray, " b"],
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """Sum over tasks of the mean cross-entropy over that task's labelled faces.

    A batch in which no face has a label for a task adds nothing for it.

    Returns:
      The loss to minimise (nats), and each task's own mean.
    """
    per_task = {}
    for task, scores in logits.items():
        loss, count = cross_entropy(scores, labels[task], mask)
        per_task[task] = loss / jnp.maximum(count, 1.0)
    return jnp.stack(jax.tree.leaves(per_task)).sum(), per_task
