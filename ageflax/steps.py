"""The jitted training and evaluation steps: the only jit of training."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from ageflax import losses
from ageflax.data import augment
from ageflax.sharding import batched, replicated
from ageflax.structs import AnyArray, Batch, Metrics, Params, TrainState

TrainStep = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]
ResidentTrainStep = Callable[[TrainState, Batch, Any], tuple[TrainState, Metrics]]
EvalStep = Callable[[Params, Params, Any, Batch], dict[str, jax.Array]]


def _variables(params: Params, batch_stats: Params) -> dict[str, Params]:
    return {"params": params, "batch_stats": batch_stats} if batch_stats else {"params": params}


def init_state(
    network: nn.Module,
    tx: optax.GradientTransformation,
    key: jax.Array,
    mean: Float[AnyArray, "h w 3"],
    preprocessing: augment.Preprocessing,
    mesh: Mesh,
) -> TrainState:
    """A fresh state, whole on every device.

    Args:
      network: maps float images to logits per task.
      tx: the optimiser.
      key: root of the run's randomness; also draws the weights.
      mean: float[h, w, 3], subtracted from every image.
      preprocessing: decides the shape of what the network sees.
      mesh: where it goes.
    """

    def init(key: jax.Array, mean: jax.Array) -> TrainState:
        variables = network.init(key, jnp.zeros(preprocessing.shape))
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            params=variables["params"],
            batch_stats=variables.get("batch_stats", {}),
            opt_state=tx.init(variables["params"]),
            key=key,
            mean=mean,
        )

    return jax.jit(init, out_shardings=replicated(mesh))(key, mean)


def _train_step(
    network: nn.Module, tx: optax.GradientTransformation, preprocessing: augment.Preprocessing
) -> TrainStep:
    """One optimiser step as a pure function; the caller jits it."""

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        # A function of (key, step), so that a resumed run draws what an uninterrupted one would.
        view_key, dropout_key = jax.random.split(jax.random.fold_in(state.key, state.step))
        views = augment.training_views(view_key, batch.images, state.mean, preprocessing)

        def objective(params: Params) -> tuple[jax.Array, tuple[dict[str, jax.Array], Any, Params]]:
            logits, updated = network.apply(
                _variables(params, state.batch_stats),
                views,
                train=True,
                rngs={"dropout": dropout_key},
                mutable=["batch_stats"],
            )
            loss, per_task = losses.total(logits, batch.labels, batch.mask)
            return loss, (per_task, logits, updated.get("batch_stats", {}))

        (loss, (per_task, logits, batch_stats)), gradients = jax.value_and_grad(
            objective, has_aux=True
        )(state.params)
        updates, opt_state = tx.update(gradients, state.opt_state, state.params)
        metrics = {
            "loss": loss,
            # Tells of weights that are about to be spoiled, one step before the loss does.
            "update_norm": optax.global_norm(updates),
            "faces": batch.mask.sum(dtype=jnp.float32),
        }
        for task, scores in logits.items():
            labelled = batch.mask & (batch.labels[task] >= 0)
            correct = labelled & (scores.argmax(-1) == batch.labels[task])
            metrics[f"{task}_loss"] = per_task[task]
            metrics[f"{task}_correct"] = correct.sum(dtype=jnp.float32)
            metrics[f"{task}_labelled"] = labelled.sum(dtype=jnp.float32)
        state = state.replace(  # type: ignore[attr-defined]
            step=state.step + 1,
            params=optax.apply_updates(state.params, updates),
            batch_stats=batch_stats,
            opt_state=opt_state,
        )
        return state, metrics

    return step


def make_train_step(
    network: nn.Module,
    tx: optax.GradientTransformation,
    preprocessing: augment.Preprocessing,
    mesh: Mesh,
) -> TrainStep:
    """The step over batches that come from the host: (state, batch) -> (state, metrics).

    The state is donated. The batch is split over the mesh's "data" axis; losses and batch statistics
    are means over the whole batch, so any number of devices takes the same step.
    """
    return jax.jit(
        _train_step(network, tx, preprocessing),
        in_shardings=(replicated(mesh), batched(mesh)),
        out_shardings=replicated(mesh),
        donate_argnums=0,
    )


def make_resident_train_step(
    network: nn.Module,
    tx: optax.GradientTransformation,
    preprocessing: augment.Preprocessing,
    mesh: Mesh,
) -> ResidentTrainStep:
    """The same step over faces that lie on the devices: (state, faces, rows) -> (state, metrics).

    `faces` is the whole decoded dataset, on every device; `rows`, split over the mesh, says which of
    them make this batch.
    """
    inner = _train_step(network, tx, preprocessing)

    def step(state: TrainState, faces: Batch, rows: Int[Array, " b"]) -> tuple[TrainState, Metrics]:
        return inner(state, jax.tree.map(lambda leaf: leaf[rows], faces))

    return jax.jit(
        step,
        in_shardings=(replicated(mesh), replicated(mesh), batched(mesh)),
        out_shardings=replicated(mesh),
        donate_argnums=0,
    )


def make_eval_step(
    network: nn.Module, preprocessing: augment.Preprocessing, mesh: Mesh, *, crops: str
) -> EvalStep:
    """(params, batch_stats, mean, batch) -> probabilities per task, float[b, classes].

    Probabilities are softmaxes averaged over the views that `crops` names, as the paper averages.
    """

    def step(
        params: Params, batch_stats: Params, mean: Float[Array, "h w 3"], batch: Batch
    ) -> dict[str, jax.Array]:
        views = augment.eval_views(batch.images, mean, preprocessing, crops=crops)
        faces, per_face = views.shape[:2]
        flat = views.reshape(faces * per_face, *views.shape[2:])
        logits: Any = network.apply(_variables(params, batch_stats), flat, train=False)
        return {
            task: jax.nn.softmax(scores).reshape(faces, per_face, -1).mean(1)
            for task, scores in logits.items()
        }

    everywhere = replicated(mesh)
    return jax.jit(
        step,
        in_shardings=(everywhere, everywhere, everywhere, batched(mesh)),
        out_shardings=everywhere,
    )
