"""What travels between the layers: batches of faces and the state of training."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float, Int, Key, UInt8

# On the host numpy's, on the devices jax's.
AnyArray = jax.Array | np.ndarray
Params = Any


@struct.dataclass
class Batch:
    """Faces at the decoded size, with their labels. Augmentation happens inside the step.

    Attributes:
      images: RGB as decoded, before crop and mean.
      labels: class index per task; UNKNOWN (-1) where a face has no label for it.
      mask: False for padding and for images that could not be decoded; such rows count for nothing.
    """

    images: UInt8[AnyArray, "b h w 3"]
    labels: Mapping[str, Int[AnyArray, " b"]]
    mask: Bool[AnyArray, " b"]


@struct.dataclass
class TrainState:
    """Everything training changes or needs to go on; arrays only, so it saves and shards as it is.

    Attributes:
      step: optimiser steps done.
      params: the network's weights, float32.
      batch_stats: running statistics of batch norm; empty without it.
      opt_state: the optimiser's.
      key: root of all randomness; what a step draws is a function of (key, step).
      mean: what is subtracted from every image, of the decoded size or 1x1, RGB, in 0-255.
    """

    step: Int[Array, ""]
    params: Params
    batch_stats: Params
    opt_state: Any
    key: Key[Array, ""]
    mean: Float[Array, "h w 3"]


Metrics = dict[str, jax.Array]
