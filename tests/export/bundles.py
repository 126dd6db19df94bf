"""Bundles of untrained networks whose random weights make every layer matter."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from ml_collections import ConfigDict

from ageflax import bundle
from ageflax import config as configuration
from ageflax.bundle.model import Network


def _drawn(network, shape):
    """Random weights, biases and batch statistics, none of them zero or one."""
    shapes = jax.eval_shape(lambda: network.init(jax.random.key(0), jnp.zeros(shape, jnp.float32)))
    rng, drawn = np.random.default_rng(0), {}
    leaves: dict[Any, Any] = flatten_dict(dict(shapes))
    for path, leaf in leaves.items():
        size, name = leaf.shape, path[-1]
        if name == "kernel":
            # He's, so that what comes out is neither flat nor all in one class.
            value = rng.normal(0.0, np.sqrt(2.0 / np.prod(size[:-1])), size)
        elif name in ("var", "scale"):
            value = rng.uniform(0.5, 1.5, size)
        else:
            value = rng.normal(0.0, 0.1, size)
        drawn[path] = value.astype(np.float32)
    return unflatten_dict(drawn)


def described(config):
    """Description of a bundle that such a config could have trained."""
    return bundle.Description.of_run(
        config,
        {
            "data": {"name": "drawn", "licence": "Apache-2.0"},
            "fold": 0,
            "tested_step": 0,
            "protocol": {"crops": "center"},
            "tasks": {},
        },
    )


def write(directory, values, *, mean="image"):
    """Writes a bundle of a config's values; returns its folder.

    Args:
      values: values of the config, {"model": {...}, "data": {...}, ...}.
      mean: "image" for a mean image, "pixel" for one pixel.
    """
    return write_config(directory, configuration.resolve(ConfigDict(values)), mean=mean)


def write_config(directory, config, *, mean="image"):
    """Writes a bundle of a resolved config; see `write`."""
    description = described(config)
    side = config.data.resize if mean == "image" else 1
    bundle.write(
        directory,
        description,
        _drawn(Network(description).module, description.input.preprocessing.shape),
        mean=np.random.default_rng(1).uniform(90, 140, (side, side, 3)).astype(np.float32),
        std=np.array([[[57.0, 58.0, 61.0]]], np.float32),
    )
    return directory


def small(name, *, channels="bgr", resize=36, crop=32, task="years+gender", loss=None, **model):
    """Values of a config with a narrow trunk and small images."""
    return {
        "task": task,
        "loss": loss or {},
        "data": {
            "name": "synthetic_faces",
            "resize": resize,
            "crop": crop,
            "channels": channels,
            "interpolation": "bilinear",
        },
        "model": {"name": name, **model},
    }
