"""What all folds of a run share: network, optimiser and compiled steps, made once."""

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
from ageflax.config import Config, Data, Eval
from ageflax.errors import InputError
from ageflax.training import freezing, optimizer
from ageflax.training import step as steps
from ageflax.training.freezing import Frozen
from ageflax.training.recipe import Recipe, recipe_of
from ageflax.training.step import ResidentTrainStep, TrainStep


@dataclasses.dataclass(frozen=True)
class Phase:
    """A stretch of training in which the same parameters learn.

    Attributes:
      start: steps done before it.
      frozen: what does not learn.
      train_step: over batches from the host.
      resident_train_step: over faces that lie on the devices.
    """

    start: int
    frozen: Frozen
    train_step: TrainStep
    resident_train_step: ResidentTrainStep


@dataclasses.dataclass(frozen=True)
class Program:
    """The compiled parts of a run; nothing in it depends on the fold, so it compiles once.

    Attributes:
      network: maps float images to scores per task.
      tx: the optimiser.
      schedule: learning rate by step.
      steps: optimiser steps a fold, unless it stops early.
      recipe: what a step does.
      phases: the training steps, by what is frozen; one, unless layers are unfrozen on the way.
      eval_step: probabilities of a batch, by the protocol's crops.
      quick_eval_step: the same from the centre crop alone, for validation during training; with
        cached features, from them.
      feature_step: features of a frozen trunk.
      shapes: of the parameters.
      mesh: the devices.
    """

    network: nn.Module
    tx: optax.GradientTransformation
    schedule: optax.Schedule
    steps: int
    recipe: Recipe
    phases: tuple[Phase, ...]
    eval_step: Predict
    quick_eval_step: Predict
    feature_step: Callable[..., jax.Array]
    shapes: Params
    mesh: Mesh

    def phase(self, step: int) -> Phase:
        """The phase that the step after `step` steps belongs to."""
        return self.phases[bisect.bisect_right([p.start for p in self.phases], step) - 1]


def pieces(start: int, stop: int, *, multiple: int, breaks: Iterable[int] = ()) -> list[range]:
    """Steps start..stop-1 in stretches that one dispatch takes.

    They end at multiples of `multiple`, counted from step 0, and at `breaks`: a run that goes on from
    the end of any of them is cut as the uninterrupted one was.
    """
    ends = {*range(start - start % multiple + multiple, stop, multiple), stop, *breaks}
    found = []
    for end in sorted(end for end in ends if start < end <= stop):
        found.append(range(start, end))
        start = end
    return found


def dispatch(data: Data, evaluation: Eval, *, resident: bool, mesh: Mesh) -> int:
    """Steps that one dispatch takes; a divisor of those between log lines and validations.

    Args:
      data: the config's `data` group, whose `dispatch` is 0 to choose here.
      evaluation: the config's `eval` group.
      resident: whether the faces lie on the devices; other batches come one at a time.
      mesh: the devices. On a CPU one step is chosen: XLA's convolutions are slower within its loops.
    """
    most = math.gcd(evaluation.log_every, evaluation.every)
    if not resident:
        return 1
    if data.dispatch:
        return math.gcd(data.dispatch, most)
    return 1 if mesh.devices.flat[0].platform == "cpu" else most


def total_steps(config: Config, training_faces: float) -> int:
    """Optimiser steps a fold.

    With `epochs`, so many passes over `training_faces`, the mean over the five folds: one number for
    all of them, so that the schedule, and with it the compiled step, is the same in each.
    """
    if config.epochs is None:
        return config.steps
    return max(round(config.epochs * training_faces / config.data.batch_size), 1)


def build(config: Config, mesh: Mesh, *, training_faces: float) -> Program:
    """The program that a config describes, for a mesh.

    Args:
      config: resolved.
      mesh: the devices.
      training_faces: mean size of the folds' training sets.
    """
    recipe = recipe_of(config)
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
        raise InputError(f"transfer.unfreeze: step {late[0]} is not before the end, {count}")
    stretches = freezing.phases(shapes, transfer.frozen, transfer.unfreeze)
    tx = optimizer.build(
        config.optim, shapes, steps=count, unfreeze=transfer.unfreeze, frozen=transfer.frozen
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
        schedule=optimizer.schedule(config.optim, count),
        steps=count,
        recipe=recipe,
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
