"""What --model names: a bundle, here or on the hub, a run's fold, a whole run, or an .onnx file."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from ageflax.arrays import Batch, TrainState
from ageflax.augment.views import Preprocessing
from ageflax.bundle import description, files, licences
from ageflax.bundle.model import Model, check_alike, load_all
from ageflax.bundle.onnx import OnnxModel
from ageflax.errors import InputError
from ageflax.runtime.mesh import replicated
from ageflax.training.loss import Recipe
from ageflax.training.step import EvalStep, make_eval_step
from ageflax.weights import hub as weights_hub
from ageflax.weights.formats.safetensors import sha256


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
    model: Model | OnnxModel

    def described(self) -> dict[str, Any]:
        """For result.json; of the hub, with the repository and its commit."""
        hub = self.config["source"].get("hub")
        return {
            "path": str(self.path),
            "sha256": self.sha256,
            "fold": self.config["source"].get("fold"),
            "trained_on": self.config["data"].get("name"),
            **({"hub": hub} if hub else {}),
        }


@dataclasses.dataclass(frozen=True)
class Opened:
    """One model, or those of a run's folds, which have the same heads, age groups and input.

    Attributes:
      name: as it was given.
      members: one; of a run, one a fold that is finished.
    """

    name: str
    members: tuple[Member, ...]

    @property
    def config(self) -> dict[str, Any]:
        """Of the first: what all have in common."""
        return self.members[0].config

    @property
    def is_onnx(self) -> bool:
        """Whether it has its crop inside."""
        return isinstance(self.members[0].model, OnnxModel)

    @property
    def crops(self) -> str:
        """Of an .onnx file, the views that it has inside; of a bundle, which has none, "center"."""
        model = self.members[0].model
        return model.crops if isinstance(model, OnnxModel) else "center"

    def described(self) -> dict[str, Any]:
        """For result.json; `sha256` is null of several."""
        members = [member.described() for member in self.members]
        kind = "run" if len(members) > 1 else "onnx" if self.is_onnx else "bundle"
        digest = members[0]["sha256"] if len(members) == 1 else None
        return {"path": self.name, "kind": kind, "sha256": digest, "members": members}


def _members(sources: Sequence[Path | str]) -> tuple[Member, ...]:
    models = load_all(sources)
    weights = [model.directory / files.WEIGHTS for model in models]
    return tuple(
        Member(model.directory, sha256(path), model.config, model)
        for path, model in zip(weights, models, strict=True)
    )


def _onnx(path: Path) -> Member:
    model = OnnxModel(path)
    description.check(model.config, path)
    classes = {task: len(names) for task, names in model.config["heads"].items()}
    model.check(model.config["input"]["resize"], classes)
    licences.tell([model.config])
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


def open_model(source: Path | str) -> Opened:
    """Reads the model or models that a name or path stands for.

    What the terms of their data ask is logged; see bundle.load.

    Args:
      source: a bundle, a run's fold_K, a run, an .onnx file, or hf://owner/name[@revision].

    Raises:
      InputError: there is none, or it cannot be read; or a run's folds differ in heads or input.
    """
    if weights_hub.is_name(str(source)):
        repository = str(weights_hub.repository(str(source)))
        return Opened(repository, _members([repository]))
    path = Path(source)
    try:
        is_file, is_folder = path.is_file(), path.is_dir()
    except OSError as error:  # such as a name too long to be one
        raise InputError(f"--model={str(path)[:200]}: {error.strerror or error}") from error
    if is_file:
        if path.suffix != ".onnx":
            raise InputError(
                f"--model={path}: not an .onnx file; of a bundle, name the folder it is"
            )
        return Opened(str(path), (_onnx(path),))
    if not is_folder:
        raise InputError(f"--model={path}: no such file or folder")
    members = _members(_bundles(path))
    check_alike([member.path for member in members], [member.config for member in members])
    return Opened(str(path), members)


def _state(model: Model, mesh: Mesh) -> TrainState:
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


def _bundle_step(model: Model, mesh: Mesh, crops: str) -> EvalStep:
    spec = model.config["input"]
    recipe = Recipe(
        preprocessing=Preprocessing(crop=spec["crop"], mirror=False, channels=spec["channels"]),
        objectives=model.objectives,
        weights={},
    )
    return make_eval_step(model.network, recipe, mesh, crops=crops)


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

    def _step(self, model: Model) -> EvalStep:
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
        bundles = [model for model in models if isinstance(model, Model)]
        each = [self._step(model) for model in bundles]

        def step(states: Sequence[TrainState], batch: Batch) -> dict[str, jax.Array]:
            found = [one(state, batch) for one, state in zip(each, states, strict=True)]
            return jax.tree.map(lambda *parts: sum(parts) / len(parts), *found)

        return step, [_state(model, self._mesh) for model in bundles]
