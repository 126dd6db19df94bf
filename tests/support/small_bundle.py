"""A bundle of a tiny network with random weights, for tests that train nothing."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from ageflax import bundle
from ageflax import config as configuration
from ageflax.bundle.model import Network

RESULT: dict[str, Any] = {
    "fold": 2,
    "tested_step": 100,
    "data": {
        "name": "adience/aligned/1.0.0",
        "faces": 17_000,
        "edition": "a",
        "licence": "By form, for research only.",
        "fingerprint": "0" * 64,
    },
    "protocol": {
        "name": "cross_validation",
        "label_policy": "strict",
        "crops": "center",
        "checkpoint": "last",
        "validation_persons_in_training": 0,
    },
    "weights": None,
    "tasks": {},
}


def config_of(task: str = "age+gender", **model: Any) -> configuration.Config:
    """Config of a network with some thousand parameters."""
    values = ConfigDict({"task": task, "data": {"resize": 32, "crop": 27, "batch_size": 4}})
    values.model = ConfigDict({"width": 0.05, "norm": "batch"} | model)
    return configuration.resolve(values)


def _drawn(shape: tuple[int, ...], path: str, generator: np.random.Generator) -> np.ndarray:
    values = generator.standard_normal(shape).astype(np.float32)
    if path.endswith(("var", "scale")):
        return np.abs(values) + np.float32(0.5)
    if len(shape) == 1:
        return np.float32(0.1) * values
    # Large enough for faces to differ.
    return values * np.float32(math.sqrt(3.0 / math.prod(shape[:-1])))


def write(directory: Path, task: str = "age+gender", **changes: Any) -> Path:
    """Writes a bundle, the same for the same arguments on any machine.

    Args:
      directory: folder of the bundle.
      task: as in a config.
      changes: attributes of the description to replace.
    """
    description = bundle.Description.of_run(config_of(task), RESULT)
    network = Network(description).module
    drawn = jax.eval_shape(lambda: network.init(jax.random.key(0), jnp.zeros((1, 27, 27, 3))))
    generator = np.random.Generator(np.random.PCG64(0))
    variables = jax.tree_util.tree_map_with_path(
        lambda path, leaf: _drawn(leaf.shape, path[-1].key, generator), drawn
    )
    bundle.write(
        directory,
        dataclasses.replace(description, **changes),
        variables,
        mean=np.full((1, 1, 3), 127.0, np.float32),
        std=np.full((1, 1, 3), 64.0, np.float32),
    )
    return directory
