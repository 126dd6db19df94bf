"""The networks, by the names a config gives them."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from ageflax.models.levi_hassner import LeviHassner
from ageflax.models.network import Heads, Network

TRUNKS: dict[str, type[nn.Module]] = {
    "levi_hassner": LeviHassner,
}


def build(model: Mapping[str, Any], classes: Mapping[str, int]) -> Network:
    """The network a config's `model` group describes.

    Args:
      model: `name`, a key of TRUNKS, `dtype`, and the trunk's own attributes.
      classes: number of classes per task; each becomes a head.
    """
    options = {key: value for key, value in model.items() if key not in ("name", "dtype")}
    dtype = jnp.dtype(model["dtype"])
    trunk = TRUNKS[model["name"]](dtype=dtype, **options)
    return Network(trunk=trunk, heads=Heads(classes=dict(classes), dtype=dtype))


__all__ = ["TRUNKS", "Heads", "LeviHassner", "Network", "build"]
