"""Training state: the arrays that a step reads or changes."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import struct
from jaxtyping import Array, Float, Int, Key

from ageflax.arrays import Params
from ageflax.bundle.inference import Variables
from ageflax.training.recipe import Recipe


@struct.dataclass
class TrainState:
    """Everything that training changes or needs to resume; arrays only, to be saved and sharded as is.

    Attributes:
      step: number of optimiser steps done.
      params: weights of the network under "trunk" and "heads", float32; under "balance" the trainable
        balance of the tasks' losses, if any.
      batch_stats: running statistics of batch norm; empty without it.
      opt_state: state of the optimiser.
      key: root random key; every draw of a step is a function of (key, step).
      mean: RGB, 0-255, subtracted from every image; of the decoded size or 1x1.
      deviation: RGB, 0-255, per-channel divisor (std), applied after the mean is subtracted.
      class_weights: weight of each class per task; empty if all are equal.
      average: moving average of params and batch_stats, used at test; empty without one.
    """

    step: Int[Array, ""]
    params: Params
    batch_stats: Params
    opt_state: Any
    key: Key[Array, ""]
    mean: Float[Array, "h w 3"]
    deviation: Float[Array, "1 1 3"]
    class_weights: Mapping[str, Float[Array, " _"]]
    average: Params


def variables_of(state: TrainState) -> Variables:
    """Arrays to test and to ship: the average of weights and batch statistics, if there is one."""
    average = state.average or {"params": state.params, "batch_stats": state.batch_stats}
    return Variables(average["params"], average["batch_stats"], state.mean, state.deviation)


def make_init(
    network: nn.Module, tx: optax.GradientTransformation, recipe: Recipe
) -> Callable[..., TrainState]:
    """Makes the pure function (key, mean, std, class_weights) -> initial state, to be jitted.

    The key draws the weights and becomes the state's root key.
    """

    def init(key: jax.Array, mean: jax.Array, std: jax.Array, class_weights: Any) -> TrainState:
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
            deviation=std,
            class_weights=class_weights,
            # Copied: a buffer cannot be donated twice.
            average=jax.tree.map(jnp.copy, average),
        )

    return init
