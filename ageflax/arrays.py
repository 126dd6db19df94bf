"""What travels between the layers: batches of faces and the state of training."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float, Int, Key, Num, UInt8

# On the host numpy's, on the devices jax's.
AnyArray = jax.Array | np.ndarray
Params = Any


@struct.dataclass
class Batch:
    """Faces at the decoded size, with their labels. Augmentation happens inside the step.

    Attributes:
      images: RGB as decoded, before crop and mean; or a frozen trunk's features of each of a face's
        views.
      labels: class index per task, UNKNOWN (-1) where a face has none; of "years" the age itself, NaN
        where unknown.
      mask: False for padding and for images that could not be decoded; such rows count for nothing.
    """

    images: UInt8[AnyArray, "b h w 3"] | Float[AnyArray, "b views features"]
    labels: Mapping[str, Num[AnyArray, " b"]]
    mask: Bool[AnyArray, " b"]


@struct.dataclass
class TrainState:
    """Everything training changes or needs to go on; arrays only, so it saves and shards as it is.

    Attributes:
      step: optimiser steps done.
      params: the network's weights under "trunk" and "heads", float32; and under "balance" the
        trainable balance of the tasks' losses, where there is one.
      batch_stats: running statistics of batch norm; empty without it.
      opt_state: the optimiser's.
      key: root of all randomness; what a step draws is a function of (key, step).
      mean: what is subtracted from every image, of the decoded size or 1x1, RGB, in 0-255.
      deviation: what it is then divided by, RGB, in 0-255.
      class_weights: per task, what a face of each class counts; empty where all count the same.
      average: moving average of params and batch_stats, which is tested; empty without one.
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

    @property
    def tested(self) -> tuple[Params, Params]:
        """Weights and batch statistics to evaluate and ship: the averaged ones where there are some."""
        if self.average:
            return self.average["params"], self.average["batch_stats"]
        return self.params, self.batch_stats


Metrics = dict[str, jax.Array]
