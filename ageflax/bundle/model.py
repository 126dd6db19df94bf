"""Deployable models in use: one bundle, the bundles of a run's folds, or an ONNX file, compiled once."""

import dataclasses
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from jax.sharding import Mesh

from ageflax import losses, metrics
from ageflax.bundle.description import Description, Json
from ageflax.bundle.files import WEIGHTS
from ageflax.bundle.inference import Predict, Variables, make_predict, network_of
from ageflax.bundle.onnx import OnnxModel
from ageflax.data import images
from ageflax.errors import InputError
from ageflax.runtime.mesh import batched, make_mesh, replicated
from ageflax.weights.formats.safetensors import sha256

Answer = Callable[[Any], Mapping[str, Any]]


@dataclasses.dataclass(frozen=True)
class Network:
    """A bundle's forward pass without its weights; equal for bundles of one architecture.

    Attributes:
      description: the bundle's.
      dtype: of the computation; "" is the bundle's own.
    """

    description: Description = dataclasses.field(compare=False)
    dtype: str = ""
    _key: str = dataclasses.field(init=False, repr=False)

    def __post_init__(self):
        described = self.description.to_json()
        key = json.dumps([described[k] for k in ("architecture", "heads", "loss", "input")])
        object.__setattr__(self, "_key", key)

    @functools.cached_property
    def objectives(self) -> dict[str, losses.Objective]:
        """Meaning of each task's scores."""
        described = self.description
        return {
            task: losses.build(task, described.loss, len(names))
            for task, names in described.heads.items()
        }

    @functools.cached_property
    def module(self) -> nn.Module:
        """Maps float images to scores per task."""
        architecture = dict(self.description.architecture)
        if self.dtype:
            architecture["dtype"] = self.dtype
        return network_of(architecture, self.objectives)

    def predict(self, **how: Any) -> Predict:
        """The forward pass as a pure function; see inference.make_predict."""
        return make_predict(
            self.module, self.objectives, self.description.input.preprocessing, **how
        )


@functools.lru_cache(maxsize=16)
def _compiled(network: Network, crops: str, mesh: Mesh) -> Predict:
    """The jitted forward pass; shared by all models of one architecture in a process."""
    everywhere = replicated(mesh)
    return jax.jit(
        network.predict(crops=crops, mesh=mesh),
        in_shardings=(everywhere, batched(mesh)),
        out_shardings=everywhere,
    )


@dataclasses.dataclass(frozen=True)
class Member:
    """One bundle.

    Attributes:
      description: its config.json.
      network: its forward pass.
      variables: its weights, mean and std, as numpy arrays.
      path: its folder.
    """

    description: Description
    network: Network
    variables: Variables
    path: Path

    @functools.cached_property
    def sha256(self) -> str:
        """Digest of its weights file."""
        return sha256(self.path / WEIGHTS)

    def answer(self, mesh: Mesh, crops: str) -> Answer:
        """Compiled images -> probabilities per task, the weights on the devices of the mesh."""
        variables = jax.device_put(self.variables, replicated(mesh))
        predict, tasks = _compiled(self.network, crops, mesh), list(self.description.heads)

        def answer(faces: Any) -> Mapping[str, Any]:
            found = predict(variables, faces)  # sorted by name, as all that jit returns
            return {task: found[task] for task in tasks}

        return answer


class Model:
    """A model ready to use. Several bundles answer as one: their probabilities are averaged.

    Not for a face of the dataset itself, which all models of a run but one have seen.

    Args:
      members: bundles with the same heads, age groups and input; or one ONNX file.
      name: as it was given.

    Attributes:
      members: see Args.
      name: see Args.
    """

    def __init__(self, members: Sequence[Member | OnnxModel], name: str):
        self.members, self.name = tuple(members), name
        self._answers: dict[str, Answer] = {}

    @property
    def description(self) -> Description:
        """The description of the first member: what all have in common."""
        return self.members[0].description

    @property
    def config(self) -> Json:
        """config.json of the first member."""
        return self.description.to_json()

    @property
    def heads(self) -> Mapping[str, tuple[str, ...]]:
        """Class names per task, in the order of the probabilities."""
        return self.description.heads

    @property
    def is_onnx(self) -> bool:
        """True if it is an ONNX file, which has its crops inside."""
        return isinstance(self.members[0], OnnxModel)

    @property
    def crops(self) -> str:
        """Views inside an ONNX file; "center" for bundles, which take any."""
        first = self.members[0]
        return first.crops if isinstance(first, OnnxModel) else "center"

    @property
    def variables(self) -> Variables:
        """Weights, mean and std of the only member.

        Raises:
          InputError: there are several members, or it is an ONNX file.
        """
        first = self.members[0]
        if len(self.members) > 1 or isinstance(first, OnnxModel):
            raise InputError(f"{self.name}: not one bundle; see `members`")
        return first.variables

    def prepare(self, content: bytes) -> np.ndarray:
        """An encoded image as uint8[resize, resize, 3], RGB, exactly as in training.

        Raises:
          images.BadImageError: the bytes are no usable image.
        """
        spec = self.description.input
        return images.square(content, spec.resize, interpolation=spec.interpolation)

    def answer(
        self, mesh: Mesh | None = None, *, crops: str = "center", members: Sequence[int] = ()
    ) -> Answer:
        """Compiles images -> probabilities per task for a mesh.

        Args:
          mesh: devices to compute on, over which a batch is split; default the first of this process.
            An ONNX file is run by onnxruntime, wherever that runs.
          crops: views per face: "center", "mirror" or "ten"; an ONNX file has its own.
          members: places of the members that answer; default all.
        """
        mesh = mesh or make_mesh(jax.local_devices()[:1])
        each = []
        for member in [self.members[k] for k in members] or self.members:
            if isinstance(member, OnnxModel):
                return lambda faces: member(np.asarray(faces))
            each.append(member.answer(mesh, crops))
        if len(each) == 1:
            return each[0]

        def mean(faces: Any) -> Mapping[str, Any]:
            found = [answer(faces) for answer in each]
            return jax.tree.map(lambda *parts: sum(parts) / len(parts), *found)

        return mean

    def __call__(self, faces: Any, *, crops: str = "center") -> Mapping[str, Any]:
        """Probabilities float[b, classes] per task.

        A years' head that was trained by l1 or huber gives one column, the age itself. Compiled at the
        first call with a batch of each size.

        Args:
          faces: uint8[b, resize, resize, 3], RGB, as `prepare` gives them.
          crops: views whose probabilities are averaged: "center", "mirror" or "ten".
        """
        if crops not in self._answers:
            self._answers[crops] = self.answer(crops=crops)
        return self._answers[crops](faces)

    def ages(self, probabilities: Mapping[str, Any]) -> metrics.Ages:
        """Age in years, its std, and age groups, from the probabilities that a call gave.

        From the head for years where there is one, else from that for age groups.

        Raises:
          InputError: the model has neither.
        """
        task = next((task for task in ("years", "age") if task in probabilities), None)
        if task is None:
            raise InputError("this model has no head for ages")
        return metrics.ages(np.asarray(probabilities[task]), self.description.classes(task))

    def described(self) -> Json:
        """The `model` object of result.json; `sha256` is null for several members."""
        members = []
        for member in self.members:
            source, hub = member.description.source, member.description.source.get("hub")
            described = {
                "path": str(member.path),
                "sha256": member.sha256,
                "fold": source.get("fold"),
                "trained_on": member.description.data.get("name"),
            }
            members.append(described | ({"hub": hub} if hub else {}))
        kind = "run" if len(members) > 1 else "onnx" if self.is_onnx else "bundle"
        digest = members[0]["sha256"] if len(members) == 1 else None
        return {"path": self.name, "kind": kind, "sha256": digest, "members": members}
