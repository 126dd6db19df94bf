"""What all folds of a run share: network, optimiser and compiled steps, made once."""

import dataclasses

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jax.sharding import Mesh

from ageflax import config as configuration
from ageflax import models, optim
from ageflax.config import Config
from ageflax.data.augment import Preprocessing
from ageflax.steps import (
    EvalStep,
    ResidentTrainStep,
    TrainStep,
    make_eval_step,
    make_resident_train_step,
    make_train_step,
)


@dataclasses.dataclass(frozen=True)
class Program:
    """The compiled parts of a run; nothing in it depends on the fold, so it compiles once.

    Attributes:
      network: maps float images to logits per task.
      tx: the optimiser.
      schedule: learning rate by step.
      steps: optimiser steps a fold.
      train_step: over batches from the host.
      resident_train_step: over faces that lie on the devices.
      eval_step: probabilities of a batch, by the protocol's crops.
      quick_eval_step: the same from the centre crop alone, for validation during training.
      preprocessing: crop, mirror and channel order.
      mesh: the devices.
    """

    network: nn.Module
    tx: optax.GradientTransformation
    schedule: optax.Schedule
    steps: int
    train_step: TrainStep
    resident_train_step: ResidentTrainStep
    eval_step: EvalStep
    quick_eval_step: EvalStep
    preprocessing: Preprocessing
    mesh: Mesh


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
    classes = {task: len(names) for task, names in configuration.class_names(config).items()}
    network = models.build(config.model.to_dict(), classes)
    preprocessing = Preprocessing(
        crop=config.data.crop, mirror=config.data.mirror, channels=config.data.channels
    )
    shapes = jax.eval_shape(
        lambda: network.init(jax.random.key(0), jnp.zeros(preprocessing.shape, jnp.float32))
    )
    count = total_steps(config, training_faces)
    tx = optim.build(config.optim, shapes["params"], steps=count)
    quick = make_eval_step(network, preprocessing, mesh, crops="center")
    thorough = quick
    if config.eval.crops != "center":
        thorough = make_eval_step(network, preprocessing, mesh, crops=config.eval.crops)
    return Program(
        network=network,
        tx=tx,
        schedule=optim.schedule(config.optim, count),
        steps=count,
        train_step=make_train_step(network, tx, preprocessing, mesh),
        resident_train_step=make_resident_train_step(network, tx, preprocessing, mesh),
        eval_step=thorough,
        quick_eval_step=quick,
        preprocessing=preprocessing,
        mesh=mesh,
    )
