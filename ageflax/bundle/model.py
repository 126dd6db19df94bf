"""The deployable model: weights, labels and preprocessing in one folder, never pickled.

config.json (architecture, heads with class names, input, provenance), model.safetensors and README.md,
the model card.
"""

import dataclasses
import errno
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict
from safetensors import SafetensorError
from safetensors.numpy import save_file

from ageflax import __version__, labels, losses
from ageflax import config as configuration
from ageflax.arrays import AnyArray, TrainState
from ageflax.augment.views import Preprocessing, eval_views
from ageflax.bundle import card, licences
from ageflax.bundle.description import FORMAT, check
from ageflax.bundle.files import WEIGHTS, of
from ageflax.config import Config
from ageflax.data import images
from ageflax.data.dataset import Target
from ageflax.errors import InputError, one_line
from ageflax.metrics.ages import Ages, ages_of
from ageflax.runtime import files
from ageflax.training import program


def describe(config: Config, result: dict[str, Any]) -> dict[str, Any]:
    """config.json of a bundle: everything needed to use the weights, and where they come from."""
    return {
        "format": FORMAT,
        "architecture": {k: v for k, v in config.model.to_dict().items() if v is not None},
        "heads": {task: list(names) for task, names in configuration.class_names(config).items()},
        "loss": config.loss.to_dict(),
        "age_groups": [list(pair) for pair in configuration.intervals(config)],
        "input": {
            "resize": config.data.resize,
            "crop": config.data.crop,
            "interpolation": config.data.interpolation,
            "channels": config.data.channels,
            "range": [0, 255],
            "mean": "subtracted after resizing and before cropping; tensor `mean`, RGB",
            "deviation": "divided by after that; tensor `deviation`, RGB",
        },
        "crop_margin": config.data.crop_margin,
        "eyes": [list(place) for place in config.data.eyes] or None,
        "data": result["data"],
        "source": {
            "ageflax": __version__,
            "fold": result["fold"],
            "step": result["tested_step"],
            "task": config.task,
            "seed": config.seed,
            "weights": result.get("weights"),
        },
        "protocol": result["protocol"],
        # Divide the logarithms of a task's probabilities by it to make them as sure as they are right.
        "calibration": {
            task: figures.get("calibration", {}).get("temperature")
            for task, figures in result["tasks"].items()
        },
        "figures": result["tasks"],
        "cross_validation": None,  # of the whole run; see model_card.add_summary
    }


def save(directory: Path, state: TrainState, config: Config, result: dict[str, Any]) -> None:
    """Writes a bundle.

    Args:
      directory: made if absent; what is in it is replaced.
      state: whose tested params and batch statistics, mean and deviation are written.
      config: of the run.
      result: of the fold, as in result.json.
    """
    params, batch_stats = state.tested
    # What balanced the losses is no part of the network.
    params = {name: value for name, value in params.items() if name != "balance"}
    variables = {"params": params, "batch_stats": batch_stats}
    write(
        directory, describe(config, result), variables, mean=state.mean, deviation=state.deviation
    )


def write(
    directory: Path,
    description: dict[str, Any],
    variables: Mapping[str, Any],
    *,
    mean: AnyArray,
    deviation: AnyArray,
) -> None:
    """Writes a bundle of any weights, trained here or not.

    Args:
      directory: made if absent; what is in it is replaced.
      description: its config.json, with all keys of `describe`.
      variables: "params" of the network, and "batch_stats" where it has some.
      mean: float32[h, w, 3], RGB, of the decoded size or 1x1.
      deviation: float32[1, 1, 3], RGB.

    Raises:
      OSError: the disk does not take it; the bundle that was there is as it was.
    """
    directory.mkdir(parents=True, exist_ok=True)
    tree = {**variables, "mean": mean, "deviation": deviation}
    tensors = {
        path: np.ascontiguousarray(jax.device_get(value))
        for path, value in flatten_dict(tree, sep="/").items()
    }
    parameters = sum(v.size for k, v in tensors.items() if k.startswith("params/"))
    # The weights become those of the description last, when all of it is on disk.
    with files.replacing(directory / WEIGHTS) as temporary:
        try:
            save_file(tensors, temporary, metadata={"format": "ageflax"})
        except SafetensorError as error:  # "...: No space left on device (os error 28)"
            raise OSError(errno.EIO, str(error).rpartition(": ")[2]) from error
        card.write(directory, description | {"parameters": parameters})


@dataclasses.dataclass(frozen=True)
class Model:
    """A bundle ready to use.

    Attributes:
      config: its config.json.
      network: maps float images to scores per task.
      objectives: per task, what its scores mean.
      variables: the network's weights.
      mean: float32[h, w, 3], RGB, of the decoded size or 1x1.
      deviation: float32[1, 1, 3], RGB.
      directory: where its files lie.
    """

    config: dict[str, Any]
    network: nn.Module
    objectives: dict[str, losses.Objective]
    variables: dict[str, Any]
    mean: np.ndarray
    deviation: np.ndarray
    directory: Path

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
        return images.square(content, spec["resize"], interpolation=spec["interpolation"])

    def __call__(self, faces: AnyArray, *, crops: str = "center") -> dict[str, jax.Array]:
        """Probabilities float[b, classes] per task of uint8[b, resize, resize, 3] faces, RGB.

        A years' head that was trained by l1 or huber gives one column, the age itself.

        Args:
          faces: as `prepare` gives them.
          crops: views whose probabilities are averaged: "center", "mirror" or "ten".
        """
        spec = self.config["input"]
        preprocessing = Preprocessing(crop=spec["crop"], mirror=False, channels=spec["channels"])
        views = eval_views(faces, self.mean, preprocessing, crops=crops, deviation=self.deviation)
        flat = views.reshape(-1, *views.shape[2:])
        scores: Any = self.network.apply(self.variables, flat, train=False)
        return {
            task: self.objectives[task]
            .probabilities(values)
            .reshape(len(faces), views.shape[1], -1)
            .mean(1)
            for task, values in scores.items()
        }

    def ages(self, probabilities: dict[str, jax.Array]) -> Ages:
        """Age in years, its deviation, and age groups, of what a call gave.

        From the head for years where there is one, else from the age groups'.

        Raises:
          InputError: the model has neither.
        """
        task = next((task for task in ("years", "age") if task in probabilities), None)
        if task is None:
            raise InputError("this model has no head for ages")
        intervals = tuple((low, high) for low, high in self.config["age_groups"])
        target = Target(
            names=labels.group_names(intervals),
            classes=np.zeros(0, np.int32),
            centres=labels.centres(intervals),
            years=np.zeros(0, np.float32) if task == "years" else None,
            groups=labels.groups_of_years(intervals) if task == "years" else (),
        )
        return ages_of(np.asarray(probabilities[task]), target)


@dataclasses.dataclass(frozen=True)
class Ensemble:
    """The folds' models as one, for faces that none of them was trained on: probabilities averaged.

    Not for a face of the dataset itself, which all models but one have seen.

    Attributes:
      members: of one recipe; each prepares and sees faces alike.
    """

    members: tuple[Model, ...]

    @property
    def heads(self) -> dict[str, list[str]]:
        """See Model."""
        return self.members[0].heads

    def prepare(self, content: bytes) -> np.ndarray:
        """See Model."""
        return self.members[0].prepare(content)

    def __call__(self, faces: AnyArray, *, crops: str = "center") -> dict[str, jax.Array]:
        """See Model."""
        each = [member(faces, crops=crops) for member in self.members]
        return jax.tree.map(lambda *parts: sum(parts) / len(parts), *each)

    def ages(self, probabilities: dict[str, jax.Array]) -> Ages:
        """See Model."""
        return self.members[0].ages(probabilities)


def check_alike(paths: Sequence[Path], configs: Sequence[dict[str, Any]]) -> None:
    """Raises InputError where bundles differ in what must be one to answer together or be compared."""
    for path, config in zip(paths, configs, strict=True):
        for key in ("heads", "input", "age_groups"):
            if config[key] != configs[0][key]:
                raise InputError(f"{path}: its {key} differ from those of {paths[0]}")


def ensemble(run: Path | str | Sequence[Path]) -> Ensemble:
    """The models of a run's folds, or several bundles, as one.

    Args:
      run: a run's folder, or the bundles.

    Raises:
      InputError: there is none, one cannot be read, or they differ in heads or input.
    """
    if isinstance(run, str | Path):
        directories = sorted(Path(run).glob("fold_*/bundle"))
        if not directories:
            raise InputError(f"{run}: no run, or no fold of it is finished: no fold_K/bundle")
    else:
        directories = list(run)
    members = load_all(directories)
    check_alike(directories, [member.config for member in members])
    return Ensemble(members)


def _shapes(network: nn.Module, spec: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Of all that a bundle's weights file holds, by name; nothing is computed or allocated."""
    seen = Preprocessing(crop=spec["crop"], mirror=False, channels=spec["channels"])
    drawn: Any = jax.eval_shape(
        lambda: network.init(jax.random.key(0), jnp.zeros(seen.shape, jnp.float32))
    )
    whole = (spec["resize"], spec["resize"], 3)
    leaves: dict[str, Any] = flatten_dict(drawn, sep="/")
    shapes = {path: leaf.shape for path, leaf in leaves.items()}
    return shapes | {"mean": whole, "deviation": (1, 1, 3)}


def _load(source: Path | str) -> Model:
    found = of(source)
    config = found.description()
    resolved = check(config, found.name)
    if found.origin is not None:
        config["source"]["hub"] = found.origin
    try:
        objectives = {
            task: losses.build(task, resolved.loss, len(names))
            for task, names in config["heads"].items()
        }
        network = program.network_of(resolved.model.to_dict(), objectives)
        shapes = _shapes(network, config["input"])
    except InputError as error:
        raise InputError(f"{found.name}: {error}") from error
    # Whatever JAX or Flax raises of sizes that each are possible and together make no network.
    except Exception as error:
        first = one_line(str(error) or type(error).__name__, 200)
        raise InputError(f"{found.name}: no network can be made of it: {first}") from error
    tensors = found.tensors(shapes)
    tree = unflatten_dict({tuple(path.split("/")): value for path, value in tensors.items()})
    return Model(
        config=config,
        network=network,
        objectives=objectives,
        variables={name: tree[name] for name in ("params", "batch_stats") if name in tree},
        mean=tree["mean"],
        deviation=tree["deviation"],
        directory=found.directory,
    )


def licence_notice(config: Mapping[str, Any]) -> str | None:
    """What the terms of a bundle's data ask of its user, in one line; None where they are free."""
    return licences.notice(config)


def load_all(sources: Sequence[Path | str]) -> tuple[Model, ...]:
    """As `load`, of several; a notice that they have in common is logged once."""
    models = tuple(_load(source) for source in sources)
    licences.tell(model.config for model in models)
    return models


def load(source: Path | str) -> Model:
    """Reads a bundle, from here or from the Hugging Face hub.

    Where the terms of its data may bind its user, they are logged, as a warning of "ageflax".

    Args:
      source: a bundle's folder, a run's fold, or "hf://owner/name[@revision]", which is downloaded once
        and has its commit in config["source"]["hub"].

    Raises:
      InputError: there is none, or it is damaged, or not such as this project writes. No file can make
        this take much more memory than the network that it describes.
    """
    return load_all([source])[0]
