"""Names of arrays that every layer speaks of."""

from typing import Any

import jax
import numpy as np

# On the host numpy's, on the devices jax's.
AnyArray = jax.Array | np.ndarray
# A tree of arrays: a network's weights, or its batch statistics.
Params = Any
Metrics = dict[str, jax.Array]
