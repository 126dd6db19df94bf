"""Parts of a run that all folds share: network, optimiser and compiled steps."""

import bisect
import dataclasses
import math
from collections.abc import Callable, Iterable

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jax.sharding import Mesh

from ageflax.arrays import Params
from ageflax.bundle.inference import Predict, network_of
from ageflax.bundle.model import Network
from ageflax.config import Config, Data, Eval
from ageflax.errors import InputError
from ageflax.training import freezing, optimizer
from ageflax.training import step as steps
from ageflax.training.freezing import Frozen
from ageflax.training.recipe import Recipe, recipe_of
from ageflax.training.state import TrainState
from ageflax.training.step import ResidentTrainStep, TrainStep


@dataclasses.dataclass(frozen=True)
class Phase:
    """A stretch of training in which the same parameters learn.

    Attributes:
      start: number of steps before it.
      frozen: frozen parameters.
      train_step: step over a batch from the host.
      resident_train_step: steps over faces on the devices.
    """

    start: int
    frozen: Frozen
    train_step: TrainStep
    resident_train_step: ResidentTrainStep


@dataclasses.dataclass(frozen=True)
class Program:
    """Compiled parts of a run; independent of the fold, so that they compile once.

    Attributes:
      network: module from float images to scores per task.
      tx: optimiser.
      schedule: learning rate by step.
      steps: optimiser steps per fold, unless it stops early.
      recipe: recipe of a step.
      init: initial state from (key, mean, std, class_weights); see state.make_init.
      phases: training steps by frozen parameters; one phase unless layers are unfrozen on the way.
      eval_step: step from images to probabilities, by the protocol's crops.
      quick_eval_step: step for validation during training: centre crop alone, or cached features.
      feature_step: step from images to features of a frozen trunk.
      shapes: shapes of the parameters.
      mesh: devices.
    """

    network: nn.Module
    tx: optax.GradientTransformation
    schedule: optax.Schedule
    steps: int
    recipe: Recipe
    init: Callable[..., TrainState]
    phases: tuple[Phase, ...]
    eval_step: Predict
    quick_eval_step: Predict
    feature_step: Callable[..., jax.Array]
    shapes: Params
    mesh: Mesh

    def phase(self, step: int) -> Phase:
        """Phase of the step that follows `step` steps."""
        return self.phases[bisect.bisect_right([p.start for p in self.phases], step) - 1]


def pieces(start: int, stop: int, *, multiple: int, breaks: Iterable[int] = ()) -> list[range]:
    """Cuts steps start..stop-1 into stretches of one dispatch each.

    Stretches end at multiples of `multiple`, counted from step 0, and at `breaks`, so that a resumed run
    is cut as an uninterrupted one.
    """
    ends = {*range(start - start % multiple + multiple, stop, multiple), stop, *breaks}
    found = []
    for end in sorted(end for end in ends if start < end <= stop):
        found.append(range(start, end))
        start = end
    return found


def dispatch(data: Data, evaluation: Eval, *, resident: bool, mesh: Mesh) -> int:
    """Steps per dispatch; divides the steps between log lines and between validations.

    Args:
      data: config group `data`; its `dispatch` limits the steps, 0 for the default.
      evaluation: config group `eval`.
      resident: True if the faces lie on the devices; other batches come one at a time.
      mesh: devices. On CPUs the default is one step: XLA's convolutions are slower inside a loop.
    """
    most = math.gcd(evaluation.log_every, evaluation.every)
    if not resident:
        return 1
    if data.dispatch:
        return math.gcd(data.dispatch, most)
    return 1 if mesh.devices.flat[0].platform == "cpu" else most


def total_steps(config: Config, training_faces: float) -> int:
    """Optimiser steps per fold.

    `epochs` count passes over `training_faces`, the mean over the folds: all folds get the same number,
    and so the same schedule and compiled step.
    """
    if config.epochs is None:
        return config.steps
    if not config.epochs:
        return 0
    return max(round(config.epochs * training_faces / config.data.batch_size), 1)


def build(
    config: Config, mesh: Mesh, *, training_faces: float, teachers: tuple[Network, ...] = ()
) -> Program:
    """Builds the program that a config describes.

    Args:
      config: resolved config.
      mesh: devices to compile for.
      training_faces: mean number of training faces over the folds.
      teachers: networks of the teachers that the config names.

    Raises:
      InputError: frozen or unfrozen parameters do not fit the network or the number of steps.
    """
    recipe = recipe_of(config, mesh, teachers)
    net = network_of(config.model.to_dict(), recipe.objectives)
    shape = recipe.preprocessing.shape
    drawn = jax.eval_shape(lambda: net.init(jax.random.key(0), jnp.zeros(shape, jnp.float32)))
    shapes = dict(drawn["params"])
    if recipe.balanced:
        shapes["balance"] = {task: jax.ShapeDtypeStruct((), jnp.float32) for task in recipe.weights}
    count = total_steps(config, training_faces)
    transfer = config.transfer
    late = [step for _, step in transfer.unfreeze if step >= count]
    if late:
        raise InputError(
            f"transfer.unfreeze: step {late[0]} is not before the end of training, {count}; lower it"
        )
    stretches = freezing.phases(shapes, transfer.frozen, transfer.unfreeze)
    tx = optimizer.build(
        config.optim,
        shapes,
        steps=max(count, 1),
        unfreeze=transfer.unfreeze,
        frozen=transfer.frozen,
    )
    if recipe.cached and not stretches[0][1].whole_trunk:
        raise InputError(
            'transfer.cache_features: part of the trunk is not frozen; freeze "trunk/.*"'
        )
    on_pixels = dataclasses.replace(recipe, cached=False)
    quick = steps.make_eval_step(net, recipe, mesh, crops="center")
    thorough = quick
    if config.eval.crops != "center" or recipe.cached:
        thorough = steps.make_eval_step(net, on_pixels, mesh, crops=config.eval.crops)
    return Program(
        network=net,
        tx=tx,
        schedule=optimizer.schedule(config.optim, max(count, 1)),
        steps=count,
        recipe=recipe,
        init=steps.make_init_step(net, tx, recipe, mesh),
        phases=tuple(
            Phase(
                start,
                frozen,
                steps.make_train_step(net, tx, recipe, mesh, frozen=frozen),
                steps.make_resident_train_step(net, tx, recipe, mesh, frozen=frozen),
            )
            for start, frozen in stretches
        ),
        eval_step=thorough,
        quick_eval_step=quick,
        feature_step=steps.make_feature_step(net, on_pixels, mesh),
        shapes=shapes,
        mesh=mesh,
    )
