"""Start of a fold: weights drawn or transferred, mean and std, features of a frozen trunk."""

from collections.abc import Callable, Mapping

import jax
import numpy as np

from ageflax import losses
from ageflax.augment import means
from ageflax.bundle.inference import Variables
from ageflax.config import Config, trains
from ageflax.data.balance import ONE, Draws
from ageflax.data.batches import Batches, HostBatches
from ageflax.data.splits import Split
from ageflax.errors import InputError
from ageflax.runtime.mesh import put, whole
from ageflax.runtime.progress import Progress
from ageflax.training.program import Program
from ageflax.training.state import TrainState
from ageflax.weights import transfer


def _mean(config: Config, placement: Batches, rows: np.ndarray) -> np.ndarray:
    """Mean to subtract, float32, RGB: a fixed one, or that of the fold's training faces."""
    if config.data.mean in means.FIXED:
        return means.FIXED[config.data.mean].mean
    mean = placement.mean(rows)
    return mean.mean((0, 1), keepdims=True) if config.data.mean == "channel" else mean


def _std(config: Config, placement: Batches, rows: np.ndarray) -> np.ndarray:
    if config.data.deviation in means.FIXED:
        return means.FIXED[config.data.deviation].std
    # At least 1, as images of one colour would divide by zero.
    return np.maximum(placement.std(rows), 1.0)


def _class_weights(
    config: Config, program: Program, placement: Batches, rows: np.ndarray, draws: Draws | None
) -> Mapping[str, np.ndarray]:
    """Weight of each class; with draws, of the faces as they are drawn: never evened out twice."""
    if config.loss.class_weights == "none":
        return {}
    expected = None if draws is None else draws.expected / ONE
    return {
        task: losses.class_weights(
            losses.class_counts(placement.labels[task][rows], objective.classes, expected)
        )
        for task, objective in program.recipe.objectives.items()
    }


def state(
    program: Program,
    config: Config,
    number: int,
    placement: Batches,
    split: Split,
    *,
    draws: Draws | None = None,
) -> TrainState:
    """A fold's state before its first step, its weights drawn from a key of the fold.

    Args:
      program: compiled steps.
      config: resolved config.
      number: test fold.
      placement: source of batches.
      split: faces of the fold; mean, std and class weights come from its training faces.
      draws: expected draws of each training face, by which the class weights count it; None for one.
    """
    rows = split.train
    return program.init(
        jax.random.fold_in(jax.random.key(config.seed), number),
        _mean(config, placement, rows),
        _std(config, placement, rows),
        dict(_class_weights(config, program, placement, rows, draws)),
    )


def transferred(
    state: TrainState, weights: transfer.Loaded, config: Config, *, say: Callable[[str], None]
) -> TrainState:
    """The state with another network's weights, except those that `transfer.reset` names.

    Where nothing is trained, mean and std are the other network's too.
    """
    params, batch_stats, report = transfer.transferred(
        state.params, state.batch_stats, weights, reset=config.transfer.reset
    )
    for line in report.lines():
        say(f"{weights.provenance['source']}: {line}")

    def placed(new: object, old: object) -> object:
        return jax.tree.map(lambda n, o: put(np.asarray(n), o.sharding), new, old)

    taken = {"params": placed(params, state.params)}
    taken["batch_stats"] = placed(batch_stats, state.batch_stats)
    if not trains(config):
        taken |= {n: placed(v, getattr(state, n)) for n, v in weights.normalization.items()}
    averaged = {name: taken[name] for name in ("params", "batch_stats")}
    average = jax.tree.map(lambda leaf: leaf.copy(), averaged) if state.average else state.average
    return state.replace(**taken, average=average)  # type: ignore[attr-defined]


def cached(program: Program, placement: Batches, split: Split, state: TrainState) -> HostBatches:
    """Features of a frozen trunk for every training and validation face, float32[n, views, f].

    The views are the centre crop and, if training mirrors, its mirror image. Test faces have no
    features, as they are tested from their pixels.

    Raises:
      InputError: an image cannot be read.
    """
    rows = np.union1d(split.train, split.validation)
    size = 64 * program.mesh.devices.size
    # Current weights, not the average: training sees the trunk as it is.
    variables = Variables(state.params, state.batch_stats, state.mean, state.deviation)
    features = None
    with Progress(len(rows), unit="face", label="features of the frozen trunk") as progress:
        for k, batch in enumerate(placement.eval_batches(rows, size)):
            piece = rows[k * size : (k + 1) * size]
            if not whole(batch.mask)[: len(piece)].all():
                raise InputError("an image cannot be read; rebuild the dataset without it")
            found = np.asarray(program.feature_step(variables, batch.images))[: len(piece)]
            if features is None:
                count = max(len(values) for values in placement.labels.values())
                features = np.zeros((count, *found.shape[1:]), np.float32)
            features[piece] = found
            progress.update(len(piece))
    assert features is not None  # a split has training faces
    return HostBatches(features, placement.labels, program.mesh)
