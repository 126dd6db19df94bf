"""The forward pass at test, the only place that applies a network outside a training step.

Training jits it over its mesh, `bundle.Model` jits it for a loaded bundle, export traces it.
"""

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import struct
from jax.sharding import Mesh
from jaxtyping import Array, Float, UInt8

from ageflax import losses, models
from ageflax.arrays import AnyArray, Params
from ageflax.augment.views import Preprocessing, eval_views
from ageflax.models import Head
from ageflax.models.layers.platform import traced_for

# Decoded faces; or, for a network with a frozen trunk, features of each view.
Images = UInt8[AnyArray, "b h w 3"] | Float[AnyArray, "b views f"]
Probabilities = Float[Array, "b k"]


@struct.dataclass
class Variables:
    """Arrays that a test needs, and nothing else.

    Attributes:
      params: weights of the network under "trunk" and "heads".
      batch_stats: running statistics of batch norm; empty without it.
      mean: float32[h, w, 3], RGB, subtracted from every image; of the decoded size or 1x1.
      std: float32[1, 1, 3], RGB, per-channel divisor, applied after the mean is subtracted.
    """

    params: Params
    batch_stats: Params
    mean: AnyArray
    std: AnyArray


Predict = Callable[[Variables, Any], dict[str, jax.Array]]
Views = Callable[[Variables, Any], Float[Array, "b views h w c"]]


def network_variables(params: Params, batch_stats: Params) -> dict[str, Params]:
    """Collections that a network is applied with, without the balance of the losses."""
    params = {name: tree for name, tree in params.items() if name != "balance"}
    return {"params": params, "batch_stats": batch_stats} if batch_stats else {"params": params}


def network_of(model: Mapping[str, Any], objectives: Mapping[str, losses.Objective]) -> nn.Module:
    """Builds a config's `model` group or a bundle's architecture, with one head per objective."""
    heads = {
        task: Head(
            outputs=objective.outputs,
            shared_weights=objective.shared_weights,
            initial_bias=objective.initial_bias or (),
        )
        for task, objective in objectives.items()
    }
    return models.build(model, heads)


def _usual_views(preprocessing: Preprocessing, crops: str) -> Views:
    return lambda variables, images: eval_views(
        images, variables.mean, preprocessing, crops=crops, std=variables.std
    )


def _applied(
    network: nn.Module, variables: Variables, inputs: jax.Array, mesh: Mesh | None, **how: Any
) -> Any:
    collections = network_variables(variables.params, variables.batch_stats)
    where = traced_for(mesh.devices.flat[0].platform, mesh) if mesh else contextlib.nullcontext()
    with where:
        return network.apply(collections, inputs, **how)


def make_predict(
    network: nn.Module,
    objectives: Mapping[str, losses.Objective],
    preprocessing: Preprocessing,
    *,
    crops: str,
    mesh: Mesh | None = None,
    cached: bool = False,
    features: bool = False,
    views: Views | None = None,
) -> Predict:
    """Makes the pure function (variables, images) -> probabilities per task, float[b, classes].

    Probabilities are averaged over the views, as in the paper. A head for years without a distribution
    (l1, huber) gives one column, the age itself.

    Args:
      network: module from float images to scores per task.
      objectives: meaning of each task's scores.
      preprocessing: crop and channel order; random augmentation is ignored.
      crops: views per face, one of CROPS.
      mesh: devices to compile for; layers take the form that is fastest there.
      cached: True if the images are features of a frozen trunk, the centre crop first.
      features: True to add "features", the input of the heads, float32[b, f], averaged over the views.
      views: function that replaces the usual views, for exported files with another input.
    """
    seen = views or _usual_views(preprocessing, crops)

    def predict(variables: Variables, images: Any) -> dict[str, jax.Array]:
        trunk = None
        if cached:
            faces, count = len(images), 1
            scores = _applied(network, variables, images[:, 0], mesh, method="classify")
        else:
            shown = seen(variables, images)
            faces, count = shown.shape[:2]
            flat = shown.reshape(-1, *shown.shape[2:])
            if features:
                trunk = _applied(network, variables, flat, mesh, method="features")
                scores = _applied(network, variables, trunk, mesh, method="classify")
            else:
                scores = _applied(network, variables, flat, mesh, train=False)
        found = {task: objectives[task].probabilities(values) for task, values in scores.items()}
        if trunk is not None:
            found["features"] = trunk.astype(jnp.float32)
        if count == 1:
            return found
        return {task: values.reshape(faces, count, -1).mean(1) for task, values in found.items()}

    return predict


def make_features(
    network: nn.Module, preprocessing: Preprocessing, *, crops: str, mesh: Mesh | None = None
) -> Callable[[Variables, Any], Float[Array, "b views f"]]:
    """Makes the pure function (variables, images) -> the trunk's features, float32[b, views, f]."""
    views = _usual_views(preprocessing, crops)

    def features(variables: Variables, images: Any) -> jax.Array:
        shown = views(variables, images)
        flat = shown.reshape(-1, *shown.shape[2:])
        found = _applied(network, variables, flat, mesh, method="features")
        return found.reshape(*shown.shape[:2], -1).astype(jnp.float32)

    return features
