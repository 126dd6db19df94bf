"""Bundles of small untrained networks, for tests and benchmarks that need any model."""

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from ageflax import bundle
from ageflax import config as configuration
from ageflax.bundle.model import Network


def write(directory, *overrides, seed=0, calibration=None, intervals=True):
    """Writes the bundle of a tiny network, its config overridden by `--config` words; returns the folder.

    With `intervals`, its age intervals at 0.8, 0.9 and 0.95 are those between ranks that lie in the
    middle 0.4, 0.6 and 0.8 of a face's distribution.
    """
    values = ConfigDict()
    values.task = "joint"
    values.data = ConfigDict({"resize": 32, "crop": 27, "crop_margin": 0.4})
    values.model = ConfigDict({"width": 0.05, "norm": "none", "initialization": "matched"})
    config = configuration.resolve(values, [f"--config.{word}" for word in overrides])
    description = bundle.Description.of_run(config, _result(config, calibration or {}, intervals))
    shape = description.input.preprocessing.shape
    variables = Network(description).module.init(
        jax.random.key(seed), jnp.zeros(shape, jnp.float32)
    )
    # Larger weights make different faces get different predictions.
    heads = jax.tree.map(lambda leaf: 3.0 * leaf, variables["params"]["heads"])
    variables = {**variables, "params": {**variables["params"], "heads": heads}}
    bundle.write(
        directory,
        description,
        variables,
        mean=jnp.full((1, 1, 3), 120.0, jnp.float32),
        std=jnp.full((1, 1, 3), 60.0, jnp.float32),
    )
    return directory


def _intervals(config):
    """The `age_interval` of a result; None without a head for ages."""
    classes = configuration.class_names(config)
    task = next((task for task in ("years", "age") if task in classes), None)
    if task is None:
        return None
    count = len(classes[task])
    reaches = [[reach] * count for reach in (0.4, 0.6, 0.8)]
    return {"task": task, "crops": config.eval.crops, "levels": [0.8, 0.9, 0.95],
            "centres": [0.5] * count, "reaches": reaches, "faces": 50, "people": 50}  # fmt: skip


def _result(config, calibration, intervals):
    """The part of result.json that goes into a bundle."""
    figures = {"faces": 0, "exact": None, "majority_floor": None}
    return {
        "data": {"name": "nobody", "faces": 0, "edition": None, "licence": None},
        "fold": 0,
        "tested_step": 0,
        "weights": None,
        "age_interval": _intervals(config) if intervals else None,
        "protocol": {
            "name": "cross_validation",
            "label_policy": "strict",
            "crops": config.eval.crops,
            "checkpoint": "last",
            "validation_persons_in_training": 0,
        },
        "tasks": {
            task: {**figures, "calibration": {"temperature": calibration.get(task), "ece": None}}
            for task in configuration.tasks(config)
        },
    }
