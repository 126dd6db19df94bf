"""Jitted steps: training, evaluation, features of a frozen trunk."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from ageflax.arrays import AnyArray, Metrics
from ageflax.augment import mixing
from ageflax.augment.views import chosen_features, training_views
from ageflax.bundle.inference import Predict, make_features, make_predict
from ageflax.data.batches import Batch
from ageflax.models.layers.platform import traced_for
from ageflax.runtime.mesh import batched, replicated
from ageflax.training import optimizer
from ageflax.training.freezing import Frozen
from ageflax.training.loss import BatchLoss, Targets, gradients
from ageflax.training.recipe import Recipe
from ageflax.training.state import TrainState, make_init

TrainStep = Callable[..., tuple[TrainState, Metrics]]
ResidentTrainStep = Callable[..., tuple[TrainState, Metrics]]
# Separates the draw of partners from those of the views, which are numbered up to four.
_MIXING = 5


def make_init_step(
    network: nn.Module, tx: optax.GradientTransformation, recipe: Recipe, mesh: Mesh
) -> Callable[..., TrainState]:
    """Jits state.make_init for a mesh, with a whole copy of the state on every device."""
    return jax.jit(make_init(network, tx, recipe), out_shardings=replicated(mesh))


def init_state(
    network: nn.Module,
    tx: optax.GradientTransformation,
    key: jax.Array,
    recipe: Recipe,
    mesh: Mesh,
    *,
    mean: Float[AnyArray, "h w 3"],
    std: Float[AnyArray, "1 1 3"] | None = None,
    class_weights: Mapping[str, Float[AnyArray, " _"]] | None = None,
) -> TrainState:
    """Makes the initial state, with a whole copy on every device.

    Args:
      network: module from float images to scores per task.
      tx: optimiser.
      key: root random key; also draws the weights.
      recipe: recipe; its input shape, tasks and average are used.
      mesh: devices to place the state on.
      mean: mean to subtract from every image.
      std: per-channel divisor, applied after the mean is subtracted; default ones.
      class_weights: weight of each class per task; default all equal.
    """
    if std is None:
        std = jnp.ones((1, 1, 3), jnp.float32)
    init = make_init_step(network, tx, recipe, mesh)
    return init(key, mean, std, dict(class_weights or {}))


def _train_step(
    network: nn.Module,
    tx: optax.GradientTransformation,
    recipe: Recipe,
    mesh: Mesh,
    frozen: Frozen,
) -> TrainStep:
    """One optimiser step as a pure function, to be jitted."""

    def step(state: TrainState, batch: Batch, *teachers: Any) -> tuple[TrainState, Metrics]:
        with traced_for(mesh.devices.flat[0].platform, mesh):
            return stepped(state, batch, *teachers)

    def stepped(state: TrainState, batch: Batch, *teachers: Any) -> tuple[TrainState, Metrics]:
        # Functions of (key, step): a resumed run draws the same as an uninterrupted one.
        view_key, dropout_key = jax.random.split(jax.random.fold_in(state.key, state.step))
        if recipe.cached:
            views = chosen_features(view_key, batch.images)
        else:
            views = training_views(
                view_key, batch.images, state.mean, recipe.preprocessing, std=state.deviation
            )
        faces = jnp.ones(batch.mask.shape, jnp.float32)
        targets = [Targets(batch.labels, batch.mask, faces)]
        if recipe.mixup or recipe.cutmix:
            mix_key = jax.random.fold_in(view_key, _MIXING)
            views, partner, share = mixing.mix(
                mix_key, views, mixup_alpha=recipe.mixup, cutmix_alpha=recipe.cutmix
            )
            labels, mask = jax.tree.map(lambda leaf: leaf[partner], (batch.labels, batch.mask))
            targets = [
                Targets(batch.labels, batch.mask, share), Targets(labels, mask, 1.0 - share)
            ]  # fmt: skip
        if recipe.distillation:
            (variables,) = teachers
            told = recipe.distillation.told(variables, views, state.mean, state.deviation)
            targets[0] = dataclasses.replace(targets[0], told=told)
        loss = BatchLoss(network, recipe, frozen, state.class_weights)
        found, metrics, batch_stats = gradients(
            loss, state, views, targets, dropout_key, parts=recipe.parts
        )
        # Zeros for frozen parameters: no gradient, no decay, no momentum.
        updates, opt_state = tx.update(found, state.opt_state, frozen.zeroed(state.params))
        params = optax.apply_updates(state.params, updates)
        # Is not finite one step before the loss is.
        metrics["update_norm"] = optax.tree.norm(updates)
        metrics["faces"] = batch.mask.sum(dtype=jnp.float32)
        if recipe.balanced:
            metrics |= {f"{task}_log_variance": s for task, s in state.params["balance"].items()}
        average = state.average
        if recipe.average:
            now = {"params": params, "batch_stats": batch_stats}
            average = optimizer.moved_average(average, now, state.step, recipe.average)
        state = state.replace(  # type: ignore[attr-defined]
            step=state.step + 1,
            params=params,
            batch_stats=batch_stats,
            opt_state=opt_state,
            average=average,
        )
        return state, metrics

    return step


def _teachers_on(recipe: Recipe, mesh: Mesh) -> tuple[Any, ...]:
    """Sharding of the argument that teachers add to a step, if there are any."""
    return (replicated(mesh),) if recipe.distillation else ()


def make_train_step(
    network: nn.Module,
    tx: optax.GradientTransformation,
    recipe: Recipe,
    mesh: Mesh,
    *,
    frozen: Frozen | None = None,
) -> TrainStep:
    """Makes the step over batches from the host: (state, batch) -> (state, metrics).

    A recipe with teachers adds an argument: the Variables of each, in a tuple.

    The state is donated. The batch is split over the mesh's "data" axis; losses and batch statistics are
    means over the whole batch, so that any number of devices takes the same step. Frozen parameters keep
    their values and batch statistics and are not differentiated.
    """
    return jax.jit(
        _train_step(network, tx, recipe, mesh, frozen or Frozen()),
        in_shardings=(replicated(mesh), batched(mesh), *_teachers_on(recipe, mesh)),
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
    """Makes k steps in one dispatch over faces on the devices: (state, faces, rows) -> (state, metrics).

    `faces` is the whole decoded dataset, on every device; `rows`, int32[k, b], are the batches of k
    steps, split over the mesh along b. Every metric is float[k]. Compiles once for each k. Teachers are
    as in `make_train_step`.
    """
    inner = _train_step(network, tx, recipe, mesh, frozen or Frozen())
    in_step = batched(mesh)

    def steps(
        state: TrainState, faces: Batch, rows: Int[Array, "k b"], *teachers: Any
    ) -> tuple[TrainState, Metrics]:
        def take(state: TrainState, rows: Int[Array, " b"]) -> tuple[TrainState, Metrics]:
            batch = jax.tree.map(lambda leaf: leaf[rows], faces)
            return inner(state, jax.lax.with_sharding_constraint(batch, in_step), *teachers)

        if len(rows) == 1:  # XLA's CPU convolutions are faster outside a loop
            state, metrics = take(state, rows[0])
            return state, jax.tree.map(lambda value: value[None], metrics)
        return jax.lax.scan(take, state, rows)

    return jax.jit(
        steps,
        in_shardings=(
            replicated(mesh),
            replicated(mesh),
            batched(mesh, axis=1),
            *_teachers_on(recipe, mesh),
        ),
        out_shardings=replicated(mesh),
        donate_argnums=0,
    )


def make_eval_step(network: nn.Module, recipe: Recipe, mesh: Mesh, *, crops: str) -> Predict:
    """Jits (variables, images) -> probabilities per task for a mesh; see inference.make_predict."""
    objectives, preprocessing = recipe.objectives, recipe.preprocessing
    predict = make_predict(
        network, objectives, preprocessing, crops=crops, mesh=mesh, cached=recipe.cached
    )
    return _over_images(predict, mesh)


def make_feature_step(network: nn.Module, recipe: Recipe, mesh: Mesh) -> Callable[..., jax.Array]:
    """Jits (variables, images) -> features of a frozen trunk, float[b, views, f].

    The views are the centre crop and, if training mirrors, its mirror image.
    """
    crops = "mirror" if recipe.preprocessing.mirror else "center"
    return _over_images(make_features(network, recipe.preprocessing, crops=crops, mesh=mesh), mesh)


def _over_images(function: Callable[..., Any], mesh: Mesh) -> Any:
    everywhere = replicated(mesh)
    return jax.jit(function, in_shardings=(everywhere, batched(mesh)), out_shardings=everywhere)
