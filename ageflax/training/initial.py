"""Where a fold starts: weights drawn or taken over, the mean image, a frozen trunk's features."""

from collections.abc import Callable, Mapping

import jax
import numpy as np

from ageflax import losses
from ageflax.augment import means
from ageflax.bundle.inference import Variables
from ageflax.config import Config
from ageflax.data.batches import Batches, HostBatches
from ageflax.data.splits import Split
from ageflax.errors import InputError
from ageflax.runtime.mesh import put, whole
from ageflax.runtime.progress import Progress
from ageflax.training import step
from ageflax.training.program import Program
from ageflax.training.state import TrainState
from ageflax.weights import transfer


def _mean(config: Config, placement: Batches, rows: np.ndarray) -> np.ndarray:
    """float32, RGB: what is subtracted, from the fold's own training faces or as is usual."""
    if config.data.mean in means.FIXED:
        return means.FIXED[config.data.mean].mean
    mean = placement.mean(rows)
    return mean.mean((0, 1), keepdims=True) if config.data.mean == "channel" else mean


def _deviation(config: Config, placement: Batches, rows: np.ndarray) -> np.ndarray:
    if config.data.deviation in means.FIXED:
        return means.FIXED[config.data.deviation].std
    # Images that are all one colour would divide by zero.
    return np.maximum(placement.deviation(rows), 1.0)


def _class_weights(
    config: Config, program: Program, placement: Batches, rows: np.ndarray
) -> Mapping[str, np.ndarray]:
    if config.loss.class_weights == "none":
        return {}
    return {
        task: losses.class_weights(
            losses.class_counts(placement.labels[task][rows], objective.classes)
        )
        for task, objective in program.recipe.objectives.items()
    }


def state(
    program: Program, config: Config, number: int, placement: Batches, split: Split
) -> TrainState:
    """A fold's state before its first step, weights drawn from its own key.

    Args:
      program: of the run.
      config: of the run.
      number: the test fold.
      placement: where the pixels are.
      split: the fold's faces; mean, deviation and class weights are those of its training faces.
    """
    rows = split.train
    return step.init_state(
        program.network,
        program.tx,
        jax.random.fold_in(jax.random.key(config.seed), number),
        program.recipe,
        program.mesh,
        mean=_mean(config, placement, rows),
        std=_deviation(config, placement, rows),
        class_weights=_class_weights(config, program, placement, rows),
    )


def transferred(
    state: TrainState, weights: transfer.Loaded, config: Config, *, say: Callable[[str], None]
) -> TrainState:
    """The state with another network's weights, those that `transfer.reset` names excepted."""
    params, batch_stats, report = transfer.transferred(
        state.params, state.batch_stats, weights, reset=config.transfer.reset
    )
    for line in report.lines():
        say(f"{weights.provenance['source']}: {line}")

    def placed(new: object, old: object) -> object:
        return jax.tree.map(lambda n, o: put(np.asarray(n), o.sharding), new, old)

    params, batch_stats = placed(params, state.params), placed(batch_stats, state.batch_stats)
    average = state.average
    if average:
        average = jax.tree.map(
            lambda leaf: leaf.copy(), {"params": params, "batch_stats": batch_stats}
        )
    return state.replace(  # type: ignore[attr-defined]
        params=params, batch_stats=batch_stats, average=average
    )


def cached(program: Program, placement: Batches, split: Split, state: TrainState) -> HostBatches:
    """The frozen trunk's features of every training and validation face, float32[n, views, f].

    Features of a face are those of its centre crop and, where training mirrors, of its mirror; faces
    of the test fold are not among them, since they are tested from their pixels.

    Raises:
      InputError: an image cannot be read.
    """
    rows = np.union1d(split.train, split.validation)
    size = 64 * program.mesh.devices.size
    # Not the averaged weights: training sees the trunk as it is.
    variables = Variables(state.params, state.batch_stats, state.mean, state.deviation)
    features = None
    with Progress(len(rows), unit="face", label="features of the frozen trunk") as progress:
        for k, batch in enumerate(placement.eval_batches(rows, size)):
            piece = rows[k * size : (k + 1) * size]
            if not whole(batch.mask)[: len(piece)].all():
                raise InputError("an image cannot be read; build the dataset anew without it")
            found = np.asarray(program.feature_step(variables, batch.images))[: len(piece)]
            if features is None:
                count = max(len(values) for values in placement.labels.values())
                features = np.zeros((count, *found.shape[1:]), np.float32)
            features[piece] = found
            progress.update(len(piece))
    assert features is not None  # a split has training faces
    return HostBatches(features, placement.labels, program.mesh)
