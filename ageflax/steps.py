"""The jitted training and evaluation steps: the only jit of training."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from ageflax import losses, optim
from ageflax.data import augment, mixing
from ageflax.freezing import Frozen, statistics_kept
from ageflax.sharding import batched, replicated
from ageflax.structs import AnyArray, Batch, Metrics, Params, TrainState

TrainStep = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]
ResidentTrainStep = Callable[[TrainState, Batch, Any], tuple[TrainState, Metrics]]
# Tells the draw of partners apart from those of the views, which augment.py numbers up to four.
_MIXING = 5
EvalStep = Callable[[TrainState, Batch], dict[str, jax.Array]]


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What a training step does, besides the network and the optimiser.

    Attributes:
      preprocessing: how pixels become views.
      objectives: per task, what its head learns.
      weights: per task, the factor of its loss.
      balanced: weigh the tasks by trainable parameters instead (params["balance"]).
      mixup: alpha of Beta for blends of two faces; 0 is off.
      cutmix: alpha of Beta for patches of another face; 0 is off.
      parts: a batch is computed in so many parts, one after another.
      average: decay of the weights' moving average; 0 keeps none.
      cached: batches hold a frozen trunk's features, not pixels.
    """

    preprocessing: augment.Preprocessing
    objectives: Mapping[str, losses.Objective]
    weights: Mapping[str, float]
    balanced: bool = False
    mixup: float = 0.0
    cutmix: float = 0.0
    parts: int = 1
    average: float = 0.0
    cached: bool = False


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class _Targets:
    """What a batch, or a part of it, is to be taken for: its own labels, or its partners' of a mix.

    Attributes:
      labels: as in Batch.
      mask: as in Batch.
      share: what each face's labels weigh.
    """

    labels: Mapping[str, AnyArray]
    mask: AnyArray
    share: jax.Array


def _variables(params: Params, batch_stats: Params) -> dict[str, Params]:
    params = {name: tree for name, tree in params.items() if name != "balance"}
    return {"params": params, "batch_stats": batch_stats} if batch_stats else {"params": params}


def init_state(
    network: nn.Module,
    tx: optax.GradientTransformation,
    key: jax.Array,
    recipe: Recipe,
    mesh: Mesh,
    *,
    mean: Float[AnyArray, "h w 3"],
    deviation: Float[AnyArray, "1 1 3"] | None = None,
    class_weights: Mapping[str, Float[AnyArray, " _"]] | None = None,
) -> TrainState:
    """A fresh state, whole on every device.

    Args:
      network: maps float images to scores per task.
      tx: the optimiser.
      key: root of the run's randomness; also draws the weights.
      recipe: decides the shape of what the network sees, and what else is trained or kept.
      mesh: where it goes.
      mean: subtracted from every image.
      deviation: what it is then divided by; ones where not given.
      class_weights: per task, what a face of each class counts.
    """

    def init(key: jax.Array, mean: jax.Array, deviation: jax.Array, weights: Any) -> TrainState:
        variables = network.init(key, jnp.zeros(recipe.preprocessing.shape))
        params = dict(variables["params"])
        if recipe.balanced:
            params["balance"] = {task: jnp.zeros(()) for task in recipe.objectives}
        batch_stats = variables.get("batch_stats", {})
        average = {"params": params, "batch_stats": batch_stats} if recipe.average else {}
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            params=params,
            batch_stats=batch_stats,
            opt_state=tx.init(params),
            key=key,
            mean=mean,
            deviation=deviation,
            class_weights=weights,
            # A copy of its own: a buffer cannot be donated twice.
            average=jax.tree.map(jnp.copy, average),
        )

    if deviation is None:
        deviation = jnp.ones((1, 1, 3), jnp.float32)
    return jax.jit(init, out_shardings=replicated(mesh))(
        key, mean, deviation, dict(class_weights or {})
    )


def _task_metrics(
    objective: losses.Objective, task: str, scores: jax.Array, labels: AnyArray, mask: AnyArray
) -> Metrics:
    """Sums over a part's labelled faces: how many are right, or how many years they are off."""
    labelled = jnp.asarray(mask) & losses.known(labels)
    probabilities = objective.probabilities(scores)
    found = {f"{task}_labelled": labelled.sum(dtype=jnp.float32)}
    if jnp.issubdtype(labels.dtype, jnp.integer):
        correct = labelled & (probabilities.argmax(-1) == labels)
        return found | {f"{task}_correct": correct.sum(dtype=jnp.float32)}
    error = jnp.abs(losses.expected(probabilities) - labels)
    return found | {f"{task}_error": jnp.where(labelled, error, 0.0).sum()}


def _parts(tree: Any, parts: int) -> Any:
    """[b, ...] as [parts, b / parts, ...]; each takes every parts-th row, so shards stay in place."""

    def split(leaf: jax.Array) -> jax.Array:
        return jnp.moveaxis(leaf.reshape(-1, parts, *leaf.shape[1:]), 1, 0)

    return jax.tree.map(split, tree)


class _Objective:
    """The loss of a batch, or of a part of it, as a function of the parameters.

    Args:
      network: as in make_train_step.
      recipe: likewise.
      frozen: likewise.
      state: of the step; gives what does not change within it.
    """

    def __init__(self, network: nn.Module, recipe: Recipe, frozen: Frozen, state: TrainState):
        self._network, self._recipe, self._frozen = network, recipe, frozen
        self._class_weights = state.class_weights

    def _face_weights(self, task: str, targets: _Targets) -> jax.Array:
        objective, labels = self._recipe.objectives[task], targets.labels[task]
        weights = losses.face_weights(
            objective, labels, targets.mask, self._class_weights.get(task)
        )
        return weights * targets.share

    def totals(self, targets: list[_Targets]) -> dict[str, jax.Array]:
        """Weight of all counted faces per task; at least a little, so that none divides by zero."""
        return {
            task: jnp.maximum(sum(self._face_weights(task, t).sum() for t in targets), 1e-6)
            for task in self._recipe.objectives
        }

    def _scores(
        self, params: Params, batch_stats: Params, views: jax.Array, key: jax.Array
    ) -> tuple[dict[str, jax.Array], Params]:
        params = self._frozen.stop(params)
        variables, rngs = _variables(params, batch_stats), {"dropout": key}
        if self._recipe.cached:
            scores: Any = self._network.apply(
                variables, views, train=True, rngs=rngs, method="classify"
            )
            return scores, batch_stats
        with statistics_kept(self._frozen):
            scores, updated = self._network.apply(
                variables,
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
        targets: list[_Targets],
        key: jax.Array,
        totals: Mapping[str, jax.Array],
    ) -> tuple[jax.Array, tuple[Metrics, Params]]:
        """This part's share of the batch's loss; its sums, and the batch statistics after it."""
        recipe = self._recipe
        scores, batch_stats = self._scores(params, batch_stats, views, key)
        per_task, metrics = {}, {}
        for task, objective in recipe.objectives.items():
            weighted = [
                jnp.where(weights > 0, weights * objective.loss(scores[task], t.labels[task]), 0.0)
                for t in targets
                for weights in [self._face_weights(task, t)]
            ]
            per_task[task] = jnp.stack([w.sum() for w in weighted]).sum() / totals[task]
            metrics[f"{task}_loss"] = per_task[task]
            own = targets[0]
            metrics |= _task_metrics(objective, task, scores[task], own.labels[task], own.mask)
        if recipe.balanced:
            loss = losses.balanced(
                per_task, params["balance"], regression=losses.regressions(recipe.objectives)
            )
            # Of what is added once a batch and not once a face, each part adds its share.
            loss = loss - (1 - 1 / recipe.parts) * losses.balance_terms(params["balance"])
        else:
            loss = losses.combined(per_task, recipe.weights)
        metrics["loss"] = loss
        return loss, (metrics, batch_stats)


def _gradients(
    objective: _Objective,
    recipe: Recipe,
    state: TrainState,
    views: jax.Array,
    targets: list[_Targets],
    key: jax.Array,
) -> tuple[Params, Metrics, Params]:
    """Gradients of a batch's loss, its metrics, and the batch statistics after it."""
    totals = objective.totals(targets)
    differentiate = jax.grad(objective, has_aux=True)
    if recipe.parts == 1:
        gradients, (metrics, batch_stats) = differentiate(
            state.params, state.batch_stats, views, targets, key, totals
        )
        return gradients, metrics, batch_stats

    def add(carry: Any, part: Any) -> tuple[Any, None]:
        gradients, metrics, batch_stats = carry
        number, views, targets = part
        more, (more_metrics, batch_stats) = differentiate(
            state.params, batch_stats, views, targets, jax.random.fold_in(key, number), totals
        )
        total = jax.tree.map(jnp.add, (gradients, metrics), (more, more_metrics))
        return (*total, batch_stats), None

    parts = (jnp.arange(recipe.parts), *_parts((views, targets), recipe.parts))
    first = jax.tree.map(lambda leaf: leaf[0], parts)
    shapes = jax.eval_shape(
        lambda: differentiate(state.params, state.batch_stats, first[1], first[2], key, totals)
    )
    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), (shapes[0], shapes[1][0]))
    (gradients, metrics, batch_stats), _ = jax.lax.scan(add, (*zeros, state.batch_stats), parts)
    return gradients, metrics, batch_stats


def _train_step(
    network: nn.Module, tx: optax.GradientTransformation, recipe: Recipe, frozen: Frozen
) -> TrainStep:
    """One optimiser step as a pure function; the caller jits it."""

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        # A function of (key, step), so that a resumed run draws what an uninterrupted one would.
        view_key, dropout_key = jax.random.split(jax.random.fold_in(state.key, state.step))
        if recipe.cached:
            views = augment.chosen_features(view_key, batch.images)
        else:
            views = augment.training_views(
                view_key, batch.images, state.mean, recipe.preprocessing, deviation=state.deviation
            )
        faces = jnp.ones(batch.mask.shape, jnp.float32)
        targets = [_Targets(batch.labels, batch.mask, faces)]
        if recipe.mixup or recipe.cutmix:
            mix_key = jax.random.fold_in(view_key, _MIXING)
            views, partner, share = mixing.mix(
                mix_key, views, mixup_alpha=recipe.mixup, cutmix_alpha=recipe.cutmix
            )
            labels, mask = jax.tree.map(lambda leaf: leaf[partner], (batch.labels, batch.mask))
            targets = [
                _Targets(batch.labels, batch.mask, share), _Targets(labels, mask, 1.0 - share)
            ]  # fmt: skip
        objective = _Objective(network, recipe, frozen, state)
        gradients, metrics, batch_stats = _gradients(
            objective, recipe, state, views, targets, dropout_key
        )
        # Zero in place of what is frozen: it has no gradient, does not decay, leaves no momentum.
        updates, opt_state = tx.update(gradients, state.opt_state, frozen.zeroed(state.params))
        params = optax.apply_updates(state.params, updates)
        # Tells of weights that are about to be spoiled, one step before the loss does.
        metrics["update_norm"] = optax.tree.norm(updates)
        metrics["faces"] = batch.mask.sum(dtype=jnp.float32)
        if recipe.balanced:
            metrics |= {f"{task}_log_variance": s for task, s in state.params["balance"].items()}
        average = state.average
        if recipe.average:
            now = {"params": params, "batch_stats": batch_stats}
            average = optim.moved_average(average, now, state.step, recipe.average)
        state = state.replace(  # type: ignore[attr-defined]
            step=state.step + 1,
            params=params,
            batch_stats=batch_stats,
            opt_state=opt_state,
            average=average,
        )
        return state, metrics

    return step


def make_train_step(
    network: nn.Module,
    tx: optax.GradientTransformation,
    recipe: Recipe,
    mesh: Mesh,
    *,
    frozen: Frozen | None = None,
) -> TrainStep:
    """The step over batches that come from the host: (state, batch) -> (state, metrics).

    The state is donated. The batch is split over the mesh's "data" axis; losses and batch statistics
    are means over the whole batch, so any number of devices takes the same step. What is frozen keeps
    its weights and its batch statistics, and is not differentiated.
    """
    return jax.jit(
        _train_step(network, tx, recipe, frozen or Frozen()),
        in_shardings=(replicated(mesh), batched(mesh)),
        out_shardings=replicated(mesh),
        donate_argnums=0,
    )


def make_resident_train_step(
    network: nn.Module,
    tx: optax.GradientTransformation,
    recipe: Recipe,
    mesh: Mesh,
    *,
    frozen: Frozen | None = None,
) -> ResidentTrainStep:
    """The same step over faces that lie on the devices: (state, faces, rows) -> (state, metrics).

    `faces` is the whole decoded dataset, on every device; `rows`, split over the mesh, says which of
    them make this batch.
    """
    inner = _train_step(network, tx, recipe, frozen or Frozen())

    def step(state: TrainState, faces: Batch, rows: Int[Array, " b"]) -> tuple[TrainState, Metrics]:
        return inner(state, jax.tree.map(lambda leaf: leaf[rows], faces))

    return jax.jit(
        step,
        in_shardings=(replicated(mesh), replicated(mesh), batched(mesh)),
        out_shardings=replicated(mesh),
        donate_argnums=0,
    )


def make_eval_step(network: nn.Module, recipe: Recipe, mesh: Mesh, *, crops: str) -> EvalStep:
    """(state, batch) -> probabilities per task, float[b, classes].

    Probabilities are averaged over the views that `crops` names, as the paper averages softmaxes. The
    weights are state.tested. A cached trunk's features are of the centre crop first.
    """

    def step(state: TrainState, batch: Batch) -> dict[str, jax.Array]:
        variables = _variables(*state.tested)
        if recipe.cached:
            scores: Any = network.apply(variables, batch.images[:, 0], method="classify")
            faces, per_face = len(batch.mask), 1
        else:
            views = augment.eval_views(
                batch.images, state.mean, recipe.preprocessing, crops=crops,
                deviation=state.deviation,
            )  # fmt: skip
            faces, per_face = views.shape[:2]
            flat = views.reshape(faces * per_face, *views.shape[2:])
            scores = network.apply(variables, flat, train=False)
        return {
            task: recipe.objectives[task].probabilities(values).reshape(faces, per_face, -1).mean(1)
            for task, values in scores.items()
        }

    everywhere = replicated(mesh)
    return jax.jit(step, in_shardings=(everywhere, batched(mesh)), out_shardings=everywhere)


def make_feature_step(network: nn.Module, recipe: Recipe, mesh: Mesh) -> Callable[..., jax.Array]:
    """(state, batch) -> a frozen trunk's features, float[b, views, f], as training will see them.

    The views are the centre crop, and its mirror where training mirrors.
    """
    crops = "mirror" if recipe.preprocessing.mirror else "center"

    def step(state: TrainState, batch: Batch) -> jax.Array:
        views = augment.eval_views(
            batch.images, state.mean, recipe.preprocessing, crops=crops, deviation=state.deviation
        )
        flat = views.reshape(-1, *views.shape[2:])
        features: Any = network.apply(
            _variables(state.params, state.batch_stats), flat, method="features"
        )
        return features.reshape(*views.shape[:2], -1).astype(jnp.float32)

    return jax.jit(
        step, in_shardings=(replicated(mesh), batched(mesh)), out_shardings=replicated(mesh)
    )
