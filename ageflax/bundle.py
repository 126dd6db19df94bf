"""The deployable model: weights, labels and preprocessing in one folder, never pickled.

config.json (architecture, heads with class names, input, provenance), model.safetensors and README.md,
the model card.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict
from jinja2 import Environment, PackageLoader, StrictUndefined
from safetensors.numpy import load_file, save_file

from ageflax import __version__, files, models
from ageflax import config as configuration
from ageflax.config import Config
from ageflax.data import augment, images
from ageflax.errors import InputError
from ageflax.structs import TrainState

_FORMAT = 1


def describe(config: Config, result: dict[str, Any]) -> dict[str, Any]:
    """config.json of a bundle: everything needed to use the weights, and where they come from."""
    return {
        "format": _FORMAT,
        "architecture": config.model.to_dict(),
        "heads": {task: list(names) for task, names in configuration.class_names(config).items()},
        "input": {
            "resize": config.data.resize,
            "crop": config.data.crop,
            "interpolation": config.data.interpolation,
            "channels": config.data.channels,
            "range": [0, 255],
            "mean": "subtracted after resizing and before cropping; tensor `mean`, RGB",
        },
        # Adience's aligned faces as they come: the model sees the whole decoded square.
        "crop_margin": 0.0,
        "data": result["data"],
        "source": {
            "ageflax": __version__,
            "fold": result["fold"],
            "step": result["tested_step"],
            "task": config.task,
            "seed": config.seed,
        },
        "protocol": result["protocol"],
        "figures": result["tasks"],
    }


def save(directory: Path, state: TrainState, config: Config, result: dict[str, Any]) -> None:
    """Writes a bundle.

    Args:
      directory: made if absent; what is in it is replaced.
      state: whose params, batch statistics and mean are written.
      config: of the run.
      result: of the fold, as in result.json.
    """
    directory.mkdir(parents=True, exist_ok=True)
    tree = {"params": state.params, "batch_stats": state.batch_stats, "mean": state.mean}
    tensors = {
        path: np.ascontiguousarray(jax.device_get(value))
        for path, value in flatten_dict(tree, sep="/").items()
    }
    description = describe(config, result)
    temporary = directory / "model.safetensors.partial"
    save_file(tensors, temporary, metadata={"format": "ageflax"})
    temporary.replace(directory / "model.safetensors")
    files.write_json(directory / "config.json", description)
    environment = Environment(
        loader=PackageLoader("ageflax"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    card = environment.get_template("model_card.md.jinja").render(
        bundle=description, parameters=sum(v.size for k, v in tensors.items() if k != "mean")
    )
    (directory / "README.md").write_text(card)


@dataclasses.dataclass(frozen=True)
class Model:
    """A bundle ready to use.

    Attributes:
      config: its config.json.
      network: maps float images to logits per task.
      variables: the network's weights.
      mean: float32[h, w, 3], RGB, of the decoded size or 1x1.
    """

    config: dict[str, Any]
    network: nn.Module
    variables: dict[str, Any]
    mean: np.ndarray

    @property
    def heads(self) -> dict[str, list[str]]:
        """Class names per task, in the order of the probabilities."""
        return self.config["heads"]

    def prepare(self, content: bytes) -> np.ndarray:
        """Image bytes to uint8[resize, resize, 3], RGB, exactly as in training.

        Raises:
          images.BadImageError: they are no image that can be used.
        """
        spec = self.config["input"]
        decoded = images.decode(content)
        return images.resize(decoded, spec["resize"], interpolation=spec["interpolation"])

    def __call__(self, faces: np.ndarray) -> dict[str, jax.Array]:
        """Probabilities float[b, classes] per task of uint8[b, resize, resize, 3] faces, RGB."""
        spec = self.config["input"]
        preprocessing = augment.Preprocessing(
            crop=spec["crop"], mirror=False, channels=spec["channels"]
        )
        views = augment.eval_views(faces, self.mean, preprocessing, crops="center")[:, 0]
        logits = self.network.apply(self.variables, views, train=False)
        return jax.tree.map(jax.nn.softmax, logits)


def load(directory: Path | str) -> Model:
    """Reads a bundle.

    Raises:
      InputError: the folder holds none, or one of another format.
    """
    directory = Path(directory)
    for name in ("config.json", "model.safetensors"):
        if not (directory / name).is_file():
            raise InputError(f"{directory}: no bundle, {name} is absent")
    try:
        config = json.loads((directory / "config.json").read_text())
        tensors = load_file(directory / "model.safetensors")
    except FileNotFoundError as error:
        raise InputError(
            f"{directory}: no bundle, {Path(error.filename).name} is absent"
        ) from error
    except Exception as error:
        raise InputError(f"{directory}: not a readable bundle: {error}") from error
    if config.get("format") != _FORMAT:
        raise InputError(f"{directory}: bundle format {config.get('format')!r} is not known")
    tree = unflatten_dict({tuple(path.split("/")): value for path, value in tensors.items()})
    classes = {task: len(names) for task, names in config["heads"].items()}
    network = models.build(config["architecture"], classes)
    variables = {name: tree[name] for name in ("params", "batch_stats") if name in tree}
    return Model(config=config, network=network, variables=variables, mean=tree["mean"])
