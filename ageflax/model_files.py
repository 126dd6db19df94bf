"""What --model names: a bundle, a run's fold, a whole run, or an .onnx file."""

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from ageflax import bundle, labels, steps
from ageflax.batch_loss import Recipe
from ageflax.data.augment import Preprocessing
from ageflax.data.images import INTERPOLATIONS
from ageflax.errors import InputError
from ageflax.onnx_model import OnnxModel
from ageflax.sharding import replicated
from ageflax.steps import EvalStep
from ageflax.structs import Batch, TrainState
from ageflax.weights.files import sha256

TASKS = ("age", "years", "gender")
CHANNELS = ("bgr", "rgb", "grey")


@dataclasses.dataclass(frozen=True)
class Member:
    """One model.

    Attributes:
      path: of its bundle, or of the .onnx file.
      sha256: of its weights file, which is the .onnx file itself.
      config: config.json of its bundle.
      model: what computes.
    """

    path: Path
    sha256: str
    config: dict[str, Any]
    model: bundle.Model | OnnxModel

    def described(self) -> dict[str, Any]:
        """For result.json."""
        return {
            "path": str(self.path),
            "sha256": self.sha256,
            "fold": self.config["source"].get("fold"),
            "trained_on": self.config["data"].get("name"),
        }


@dataclasses.dataclass(frozen=True)
class Opened:
    """One model, or those of a run's folds, which have the same heads, age groups and input.

    Attributes:
      path: as it was given.
      members: one; of a run, one a fold that is finished.
    """

    path: Path
    members: tuple[Member, ...]

    @property
    def config(self) -> dict[str, Any]:
        """Of the first: what all have in common."""
        return self.members[0].config

    @property
    def is_onnx(self) -> bool:
        """Whether it has its crop inside."""
        return isinstance(self.members[0].model, OnnxModel)

    def described(self) -> dict[str, Any]:
        """For result.json; `sha256` is null of several."""
        members = [member.described() for member in self.members]
        kind = "run" if len(members) > 1 else "onnx" if self.is_onnx else "bundle"
        digest = members[0]["sha256"] if len(members) == 1 else None
        return {"path": str(self.path), "kind": kind, "sha256": digest, "members": members}


def _check_groups(groups: Any) -> labels.Intervals:
    if not isinstance(groups, list) or not groups:
        raise ValueError("age_groups: expected [low, high] pairs")
    previous = -1
    for pair in groups:
        whole = isinstance(pair, list) and [type(year) for year in pair] == [int, int]
        if not whole or not previous < pair[0] <= pair[1]:
            raise ValueError(f"age_groups: {pair!r}: expected [low, high], each above the last")
        previous = pair[1]
    return tuple((low, high) for low, high in groups)


def _check_heads(heads: Any, intervals: labels.Intervals) -> None:
    if not isinstance(heads, dict) or not heads:
        raise ValueError("heads: expected the class names of each task")
    for task, names in heads.items():
        if task not in TASKS:
            raise ValueError(f"heads: {task!r} is none of {', '.join(TASKS)}")
        # In this order, since it is that of the probabilities.
        if names != list(wanted := labels.class_names(task, intervals)):
            shown = ", ".join(wanted[:4]) + ", ..." * (len(wanted) > 4)
            raise ValueError(f"heads: {task}: expected the {len(wanted)} classes {shown}")


def _check_input(spec: Any) -> None:
    if not isinstance(spec, dict):
        raise ValueError("input: expected resize, crop, interpolation and channels")
    resize, crop = spec.get("resize"), spec.get("crop")
    if type(resize) is not int or type(crop) is not int or not 1 <= crop <= resize:
        raise ValueError("input: expected resize and crop, whole numbers")
    for key, choices in (("interpolation", tuple(INTERPOLATIONS)), ("channels", CHANNELS)):
        if spec.get(key) not in choices:
            raise ValueError(f"input: {key} is none of {', '.join(choices)}")


def _check_described(config: dict[str, Any], path: Path) -> None:
    """Raises InputError where a description lacks what evaluation needs of it.

    What it may lack, provenance, is an empty object afterwards.
    """
    try:
        _check_heads(config.get("heads"), _check_groups(config.get("age_groups")))
        _check_input(config.get("input"))
        for key in ("data", "source", "protocol", "calibration"):
            config[key] = config.get(key) or {}
            if not isinstance(config[key], dict):
                raise ValueError(f"{key}: expected an object")
        if type(config["protocol"].get("most_frontal") or 0) is not int:
            raise ValueError("protocol: most_frontal is no whole number")
        for task, temperature in config["calibration"].items():
            given = type(temperature) in (int, float)
            if temperature is not None and not (given and 0 < temperature < math.inf):
                raise ValueError(f"calibration: {task}: {temperature!r} is no temperature")
    except ValueError as error:
        raise InputError(f"{path}: its config is damaged: {error}") from error


def _check_weights(model: bundle.Model, path: Path) -> None:
    """Raises InputError where the weights are not those of the architecture."""
    spec = model.config["input"]
    shape = Preprocessing(crop=spec["crop"], mirror=False, channels=spec["channels"]).shape
    try:
        drawn = jax.eval_shape(
            lambda: model.network.init(jax.random.key(0), jnp.zeros(shape, jnp.float32))
        )
    except Exception as error:  # an architecture may be anything
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path}: no network can be made of its architecture: {first}") from error
    wanted, found = (
        {jax.tree_util.keystr(key): leaf.shape for key, leaf in leaves}
        for leaves in map(jax.tree_util.tree_leaves_with_path, (drawn, model.variables))
    )
    differing = sorted(
        key for key in wanted.keys() | found.keys() if wanted.get(key) != found.get(key)
    )
    if differing:
        key = differing[0]
        raise InputError(
            f"{path}: its weights are not those of its architecture: {len(differing)} differ, such as"
            f" {key}: {found.get(key, 'absent')} in the file, {wanted.get(key, 'absent')} expected"
        )
    one, whole = (1, 1, 3), (spec["resize"], spec["resize"], 3)
    if model.mean.shape not in (one, whole) or model.deviation.shape != one:
        raise InputError(f"{path}: its mean or deviation does not fit its input")


def _bundle(path: Path) -> Member:
    model = bundle.load(path)
    _check_described(model.config, path)
    _check_weights(model, path)
    return Member(path, sha256(path / "model.safetensors"), model.config, model)


def _onnx(path: Path) -> Member:
    model = OnnxModel(path)
    _check_described(model.config, path)
    classes = {task: len(names) for task, names in model.config["heads"].items()}
    model.check(model.config["input"]["resize"], classes)
    return Member(path, sha256(path), model.config, model)


def _bundles(path: Path) -> list[Path]:
    """The bundles that a folder is, or holds."""
    if (path / "bundle").is_dir():
        return [path / "bundle"]
    if (path / "model.safetensors").exists():
        return [path]
    if folds := sorted(path.glob("fold_*")):
        if found := [fold / "bundle" for fold in folds if (fold / "bundle").is_dir()]:
            return found
        raise InputError(f"--model={path}: a run of which no fold is finished: no fold_K/bundle")
    if (path / "checkpoints").is_dir():
        raise InputError(
            f"--model={path}: a fold that is not finished; the run's own command finishes it"
        )
    raise InputError(
        f"--model={path}: neither a bundle (config.json, model.safetensors) nor a run's folder"
    )


def open_model(path: Path | str) -> Opened:
    """Reads the model or models that a path names.

    Args:
      path: a bundle, a run's fold_K, a run, or an .onnx file.

    Raises:
      InputError: there is none, or it cannot be read; or a run's folds differ in heads or input.
    """
    path = Path(path)
    if path.is_file():
        if path.suffix != ".onnx":
            raise InputError(
                f"--model={path}: not an .onnx file; of a bundle, name the folder it is"
            )
        return Opened(path, (_onnx(path),))
    if not path.is_dir():
        raise InputError(f"--model={path}: no such file or folder")
    members = tuple(_bundle(found) for found in _bundles(path))
    bundle.check_alike([member.path for member in members], [member.config for member in members])
    return Opened(path, members)


def _state(model: bundle.Model, mesh: Mesh) -> TrainState:
    """A bundle as the state of training that it was written from; what does not test is empty."""
    state = TrainState(
        step=jnp.zeros((), jnp.int32),
        params=model.variables["params"],
        batch_stats=model.variables.get("batch_stats", {}),
        opt_state=(),
        key=jax.random.key(0),
        mean=jnp.asarray(model.mean, jnp.float32),
        deviation=jnp.asarray(model.deviation, jnp.float32),
        class_weights={},
        average={},
    )
    return jax.device_put(state, replicated(mesh))


def _bundle_step(model: bundle.Model, mesh: Mesh, crops: str) -> EvalStep:
    spec = model.config["input"]
    recipe = Recipe(
        preprocessing=Preprocessing(crop=spec["crop"], mirror=False, channels=spec["channels"]),
        objectives=model.objectives,
        weights={},
    )
    return steps.make_eval_step(model.network, recipe, mesh, crops=crops)


class Answers:
    """Members as one: (states, batch) -> probabilities per task, averaged over the members.

    Compiled once for all that have one architecture. The states are those of `state`.

    Args:
      opened: the models.
      mesh: the devices; an .onnx file is run by onnxruntime, wherever that runs.
      crops: views a face; of an .onnx file, its own.
    """

    def __init__(self, opened: Opened, mesh: Mesh, *, crops: str):
        self._opened, self._mesh, self._crops = opened, mesh, crops
        self._compiled: dict[str, EvalStep] = {}

    def _step(self, model: bundle.Model) -> EvalStep:
        key = json.dumps([model.config["architecture"], model.config.get("loss")], sort_keys=True)
        if key not in self._compiled:
            self._compiled[key] = _bundle_step(model, self._mesh, self._crops)
        return self._compiled[key]

    def of(self, members: Sequence[int]) -> tuple[Any, Any]:
        """A step and its state, for evaluate.predict, of some of the members, by their places."""
        models = [self._opened.members[k].model for k in members]
        onnx = models[0]
        if isinstance(onnx, OnnxModel):
            return lambda _, batch: onnx(np.asarray(batch.images)), None
        bundles = [model for model in models if isinstance(model, bundle.Model)]
        each = [self._step(model) for model in bundles]

        def step(states: Sequence[TrainState], batch: Batch) -> dict[str, jax.Array]:
            found = [one(state, batch) for one, state in zip(each, states, strict=True)]
            return jax.tree.map(lambda *parts: sum(parts) / len(parts), *found)

        return step, [_state(model, self._mesh) for model in bundles]
