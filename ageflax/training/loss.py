"""Loss of a batch over all tasks, and its gradients."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from ageflax import losses
from ageflax.arrays import AnyArray, Metrics, Params
from ageflax.bundle.inference import network_variables
from ageflax.training.freezing import Frozen, statistics_kept
from ageflax.training.recipe import Recipe
from ageflax.training.state import TrainState


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Targets:
    """Labels and per-face weights of a batch or a part of it; mixup has a second set, the partners'.

    Attributes:
      labels: class index or years per task; see Batch.
      mask: False for faces that do not count; see Batch.
      share: float32[b], weight of each face's labels.
      told: teachers' probabilities per task, for the whole view; empty without, and in the second set.
    """

    labels: Mapping[str, AnyArray]
    mask: AnyArray
    share: jax.Array
    told: Mapping[str, jax.Array] = dataclasses.field(default_factory=dict)


def _task_metrics(
    objective: losses.Objective, task: str, scores: jax.Array, labels: AnyArray, mask: AnyArray
) -> Metrics:
    """Sums over the labelled faces: right answers, or absolute errors in years."""
    labelled = jnp.asarray(mask) & losses.known(labels)
    probabilities = objective.probabilities(scores)
    found = {f"{task}_labelled": labelled.sum(dtype=jnp.float32)}
    if jnp.issubdtype(labels.dtype, jnp.integer):
        correct = labelled & (probabilities.argmax(-1) == labels)
        return found | {f"{task}_correct": correct.sum(dtype=jnp.float32)}
    error = jnp.abs(losses.expected(probabilities) - labels)
    return found | {f"{task}_error": jnp.where(labelled, error, 0.0).sum()}


def _parts(tree: Any, parts: int) -> Any:
    """Reshapes [b, ...] to [parts, b / parts, ...]; a part takes every parts-th row, so shards stay."""

    def split(leaf: jax.Array) -> jax.Array:
        return jnp.moveaxis(leaf.reshape(-1, parts, *leaf.shape[1:]), 1, 0)

    return jax.tree.map(split, tree)


class BatchLoss:
    """Loss of a batch, or of a part of it, as a function of the parameters.

    Args:
      network: module from float images to scores per task.
      recipe: recipe; its objectives and their weights or balance are used.
      frozen: frozen parameters.
      class_weights: weights of the classes per task; tasks without have none.
    """

    def __init__(
        self,
        network: nn.Module,
        recipe: Recipe,
        frozen: Frozen,
        class_weights: Mapping[str, AnyArray],
    ):
        self._network, self._recipe, self._frozen = network, recipe, frozen
        self._class_weights = class_weights

    def _face_weights(self, task: str, targets: Targets) -> jax.Array:
        objective, labels = self._recipe.objectives[task], targets.labels[task]
        weights = losses.face_weights(
            objective, labels, targets.mask, self._class_weights.get(task)
        )
        return weights * targets.share

    def totals(self, targets: list[Targets]) -> dict[str, jax.Array]:
        """Total weight of the faces per task; at least 1e-6, as losses are divided by it.

        Under "faces", the number of faces that count, whatever their labels.
        """
        found = {
            task: sum(self._face_weights(task, t).sum() for t in targets)
            for task in self._recipe.objectives
        }
        found["faces"] = targets[0].mask.sum(dtype=jnp.float32)
        return {name: jnp.maximum(total, 1e-6) for name, total in found.items()}

    def _distilled(
        self, task: str, scores: jax.Array, targets: Targets, totals: Mapping[str, jax.Array]
    ) -> jax.Array:
        """The part's share of the mean divergence from the teachers; labels are not needed for it."""
        distillation = self._recipe.distillation
        assert distillation is not None
        student = self._recipe.objectives[task].probabilities(scores)
        each = losses.divergence(targets.told[task], student, distillation.temperature)
        return jnp.where(targets.mask, each, 0.0).sum() / totals["faces"]

    def _scores(
        self, params: Params, batch_stats: Params, views: jax.Array, key: jax.Array
    ) -> tuple[dict[str, jax.Array], Params]:
        params = self._frozen.stop(params)
        trained, rngs = network_variables(params, batch_stats), {"dropout": key}
        if self._recipe.cached:
            scores: Any = self._network.apply(
                trained, views, train=True, rngs=rngs, method="classify"
            )
            return scores, batch_stats
        with statistics_kept(self._frozen):
            scores, updated = self._network.apply(
                trained,
                views,
                train=True,
                train_trunk=not self._frozen.whole_trunk,
                rngs=rngs,
                mutable=["batch_stats"],
            )
        return scores, updated.get("batch_stats", batch_stats)

    def __call__(
        self,
        params: Params,
        batch_stats: Params,
        views: jax.Array,
        targets: list[Targets],
        key: jax.Array,
        totals: Mapping[str, jax.Array],
    ) -> tuple[jax.Array, tuple[Metrics, Params]]:
        """Gives the part's share of the batch's loss, its metrics and the new batch statistics."""
        recipe = self._recipe
        scores, batch_stats = self._scores(params, batch_stats, views, key)
        per_task, metrics = {}, {}
        for task, objective in recipe.objectives.items():
            sums = [
                losses.weighted_loss(
                    objective, scores[task], t.labels[task], self._face_weights(task, t)
                )
                for t in targets
            ]
            per_task[task] = jnp.stack(sums).sum() / totals[task]
            metrics[f"{task}_loss"] = per_task[task]
            if recipe.distillation:
                weight = recipe.distillation.weight
                distilled = self._distilled(task, scores[task], targets[0], totals)
                metrics[f"{task}_distilled"] = distilled
                per_task[task] = (1.0 - weight) * per_task[task] + weight * distilled
            own = targets[0]
            metrics |= _task_metrics(objective, task, scores[task], own.labels[task], own.mask)
        if recipe.balanced:
            loss = losses.balanced(
                per_task, params["balance"], regression=losses.regressions(recipe.objectives)
            )
            # Terms that count once per batch: each part adds its share.
            loss = loss - (1 - 1 / recipe.parts) * losses.balance_terms(params["balance"])
        else:
            loss = losses.combined(per_task, recipe.weights)
        metrics["loss"] = loss
        return loss, (metrics, batch_stats)


def gradients(
    loss: BatchLoss,
    state: TrainState,
    views: jax.Array,
    targets: list[Targets],
    key: jax.Array,
    *,
    parts: int,
) -> tuple[Params, Metrics, Params]:
    """Gives the gradients of a batch's loss, its metrics, and the new batch statistics.

    Args:
      loss: loss of the step.
      state: training state; its parameters are differentiated.
      views: float[b, h, w, c], input of the network; or features, float[b, f].
      targets: labels and per-face weights (two sets under mixup).
      key: random key for dropout.
      parts: number of parts computed one after another. Their gradients add up to the batch's, except
        that batch norm sees one part at a time.
    """
    totals = loss.totals(targets)
    differentiate = jax.grad(loss, has_aux=True)
    if parts == 1:
        found, (metrics, batch_stats) = differentiate(
            state.params, state.batch_stats, views, targets, key, totals
        )
        return found, metrics, batch_stats

    def add(carry: Any, part: Any) -> tuple[Any, None]:
        found, metrics, batch_stats = carry
        number, views, targets = part
        more, (more_metrics, batch_stats) = differentiate(
            state.params, batch_stats, views, targets, jax.random.fold_in(key, number), totals
        )
        total = jax.tree.map(jnp.add, (found, metrics), (more, more_metrics))
        return (*total, batch_stats), None

    pieces = (jnp.arange(parts), *_parts((views, targets), parts))
    first = jax.tree.map(lambda leaf: leaf[0], pieces)
    shapes = jax.eval_shape(
        lambda: differentiate(state.params, state.batch_stats, first[1], first[2], key, totals)
    )
    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), (shapes[0], shapes[1][0]))
    (found, metrics, batch_stats), _ = jax.lax.scan(add, (*zeros, state.batch_stats), pieces)
    return found, metrics, batch_stats
