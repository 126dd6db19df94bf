"""The jitted training and evaluation steps: the only jit of training."""

import functools
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int, UInt8

from ageflax.arrays import AnyArray, Batch, Metrics, TrainState
from ageflax.augment import mixing
from ageflax.augment.views import chosen_features, eval_views, training_views
from ageflax.models.layers.platform import traced_for
from ageflax.runtime.mesh import batched, replicated
from ageflax.training import optimizer
from ageflax.training.freezing import Frozen
from ageflax.training.loss import BatchLoss, Recipe, Targets, gradients, variables

TrainStep = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]
ResidentTrainStep = Callable[[TrainState, Batch, Any], tuple[TrainState, Metrics]]
# Tells the draw of partners apart from those of the views, which augment.py numbers up to four.
_MIXING = 5
EvalStep = Callable[[TrainState, Batch], dict[str, jax.Array]]


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
        drawn = network.init(key, jnp.zeros(recipe.preprocessing.shape))
        params = dict(drawn["params"])
        if recipe.balanced:
            params["balance"] = {task: jnp.zeros(()) for task in recipe.objectives}
        batch_stats = drawn.get("batch_stats", {})
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


def _traced_for(mesh: Mesh) -> AbstractContextManager[None]:
    return traced_for(mesh.devices.flat[0].platform, mesh)


def _train_step(
    network: nn.Module,
    tx: optax.GradientTransformation,
    recipe: Recipe,
    mesh: Mesh,
    frozen: Frozen,
) -> TrainStep:
    """One optimiser step as a pure function; the caller jits it."""

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        with _traced_for(mesh):
            return stepped(state, batch)

    def stepped(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        # A function of (key, step), so that a resumed run draws what an uninterrupted one would.
        view_key, dropout_key = jax.random.split(jax.random.fold_in(state.key, state.step))
        if recipe.cached:
            views = chosen_features(view_key, batch.images)
        else:
            views = training_views(
                view_key, batch.images, state.mean, recipe.preprocessing, deviation=state.deviation
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
        loss = BatchLoss(network, recipe, frozen, state)
        found, metrics, batch_stats = gradients(
            loss, state, views, targets, dropout_key, parts=recipe.parts
        )
        # Zero in place of what is frozen: it has no gradient, does not decay, leaves no momentum.
        updates, opt_state = tx.update(found, state.opt_state, frozen.zeroed(state.params))
        params = optax.apply_updates(state.params, updates)
        # Tells of weights that are about to be spoiled, one step before the loss does.
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
        _train_step(network, tx, recipe, mesh, frozen or Frozen()),
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
    """Many steps in one dispatch, over faces on the devices: (state, faces, rows) -> (state, metrics).

    `faces` is the whole decoded dataset, on every device; `rows`, int32[k, b], says which of them make
    the batch of each of k steps, and is split over the mesh along b. Every metric comes as float[k].
    The host is idle while they run. It compiles once for each k.
    """
    inner = _train_step(network, tx, recipe, mesh, frozen or Frozen())
    in_step = batched(mesh)

    def take(faces: Batch, state: TrainState, rows: Int[Array, " b"]) -> tuple[TrainState, Metrics]:
        batch = jax.tree.map(lambda leaf: leaf[rows], faces)
        return inner(state, jax.lax.with_sharding_constraint(batch, in_step))

    def steps(
        state: TrainState, faces: Batch, rows: Int[Array, "k b"]
    ) -> tuple[TrainState, Metrics]:
        if len(rows) == 1:  # outside of a loop XLA's CPU backend has faster convolutions
            state, metrics = take(faces, state, rows[0])
            return state, jax.tree.map(lambda value: value[None], metrics)
        return jax.lax.scan(functools.partial(take, faces), state, rows)

    return jax.jit(
        steps,
        in_shardings=(replicated(mesh), replicated(mesh), batched(mesh, axis=1)),
        out_shardings=replicated(mesh),
        donate_argnums=0,
    )


def make_gather(mesh: Mesh) -> Callable[[Batch, AnyArray, AnyArray], Batch]:
    """(faces, rows, mask) -> the batch of some rows, from faces that lie on the devices."""

    def gather(faces: Batch, rows: Int[Array, " b"], mask: Bool[Array, " b"]) -> Batch:
        return jax.tree.map(lambda leaf: leaf[rows], faces).replace(mask=mask)

    split = batched(mesh)
    return jax.jit(gather, in_shardings=(replicated(mesh), split, split), out_shardings=split)


def make_pixel_sum(mesh: Mesh) -> Callable[[AnyArray, AnyArray, AnyArray], jax.Array]:
    """(images, rows, mask) -> uint32[h, w, 3], the sum of some rows of images on the devices."""

    def pixel_sum(
        images: UInt8[Array, "n h w 3"], rows: Int[Array, " b"], mask: Bool[Array, " b"]
    ) -> jax.Array:
        counted = jnp.where(mask[:, None, None, None], images[rows], jnp.uint8(0))
        return counted.sum(0, dtype=jnp.uint32)

    whole = replicated(mesh)
    return jax.jit(pixel_sum, in_shardings=whole, out_shardings=whole)


def make_eval_step(network: nn.Module, recipe: Recipe, mesh: Mesh, *, crops: str) -> EvalStep:
    """(state, batch) -> probabilities per task, float[b, classes].

    Probabilities are averaged over the views that `crops` names, as the paper averages softmaxes. The
    weights are state.tested. A cached trunk's features are of the centre crop first.
    """

    def step(state: TrainState, batch: Batch) -> dict[str, jax.Array]:
        tested = variables(*state.tested)
        if recipe.cached:
            scores: Any = network.apply(tested, batch.images[:, 0], method="classify")
            faces, per_face = len(batch.mask), 1
        else:
            views = eval_views(
                batch.images, state.mean, recipe.preprocessing, crops=crops,
                deviation=state.deviation,
            )  # fmt: skip
            faces, per_face = views.shape[:2]
            flat = views.reshape(faces * per_face, *views.shape[2:])
            with _traced_for(mesh):
                scores = network.apply(tested, flat, train=False)
        return {
            task: recipe.objectives[task].probabilities(values).reshape(faces, per_face, -1).mean(1)
            for task, values in scores.items()
        }

    everywhere = replicated(mesh)
    return jax.jit(step, in_shardings=(everywhere, batched(mesh)), out_shardings=everywhere)


def compiled(function: Callable[..., Any]) -> Any:
    """Any function of arrays under jit: what is exported, and what that is held against."""
    return jax.jit(function)


def make_feature_step(network: nn.Module, recipe: Recipe, mesh: Mesh) -> Callable[..., jax.Array]:
    """(state, batch) -> a frozen trunk's features, float[b, views, f], as training will see them.

    The views are the centre crop, and its mirror where training mirrors.
    """
    crops = "mirror" if recipe.preprocessing.mirror else "center"

    def step(state: TrainState, batch: Batch) -> jax.Array:
        views = eval_views(
            batch.images, state.mean, recipe.preprocessing, crops=crops, deviation=state.deviation
        )
        flat = views.reshape(-1, *views.shape[2:])
        weights = variables(state.params, state.batch_stats)
        with _traced_for(mesh):
            features: Any = network.apply(weights, flat, method="features")
        return features.reshape(*views.shape[:2], -1).astype(jnp.float32)

    return jax.jit(
        step, in_shardings=(replicated(mesh), batched(mesh)), out_shardings=replicated(mesh)
    )
