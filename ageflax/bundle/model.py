"""Models in use: one bundle, the bundles of a run's folds as one, or an ONNX file; compiled once."""

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
from ageflax.bundle.description import Description
from ageflax.bundle.files import FILES, WEIGHTS
from ageflax.bundle.inference import Predict, Variables, make_predict, network_of
from ageflax.bundle.onnx import OnnxModel
from ageflax.data import images
from ageflax.errors import InputError
from ageflax.runtime.files import Json
from ageflax.runtime.mesh import batched, make_mesh, replicated
from ageflax.weights import hub
from ageflax.weights.formats.safetensors import sha256

Answer = Callable[[Any], Mapping[str, Any]]


@dataclasses.dataclass(frozen=True)
class Network:
    """A bundle's forward pass without its weights; equal for bundles of one architecture.

    Attributes:
      description: description of the bundle.
      dtype: type to compute in; "" for the bundle's own.
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
        """Module from float images to scores per task."""
        architecture = dict(self.description.architecture)
        if self.dtype:
            architecture["dtype"] = self.dtype
        return network_of(architecture, self.objectives)

    def predict(self, **how: Any) -> Predict:
        """Makes the forward pass as a pure function; see inference.make_predict."""
        return make_predict(
            self.module, self.objectives, self.description.input.preprocessing, **how
        )


@functools.lru_cache(maxsize=16)
def _compiled(network: Network, crops: str, mesh: Mesh, quick: bool, features: bool) -> Predict:
    """Jitted forward pass, shared by all models of one architecture in the process.

    Layers in the form that is fastest on a CPU take a while to compile; `quick` has the plain form.
    """
    everywhere = replicated(mesh)
    return jax.jit(
        network.predict(crops=crops, mesh=None if quick else mesh, features=features),
        in_shardings=(everywhere, batched(mesh)),
        out_shardings=everywhere,
    )


@dataclasses.dataclass(frozen=True)
class Member:
    """One bundle.

    Attributes:
      description: content of its config.json.
      network: forward pass.
      variables: weights, mean and std, as numpy arrays.
      path: folder of the bundle.
    """

    description: Description
    network: Network
    variables: Variables
    path: Path

    @functools.cached_property
    def sha256(self) -> str:
        """SHA-256 of the weights file."""
        return sha256(self.path / WEIGHTS)

    def answer(
        self, mesh: Mesh, crops: str, *, quick: bool = False, features: bool = False
    ) -> Answer:
        """Places the weights on a mesh; gives images -> probabilities per task, compiled for it.

        Args:
          mesh: devices to compute on.
          crops: views per face.
          quick: True to compile the plain form; see Model.answer.
          features: see Model.answer.
        """
        variables = jax.device_put(self.variables, replicated(mesh))
        predict = _compiled(self.network, crops, mesh, quick, features)
        outputs = [*self.description.heads, *["features"] * features]

        def answer(faces: Any) -> Mapping[str, Any]:
            found = predict(variables, faces)  # jit sorts keys by name
            return {name: found[name] for name in outputs}

        return answer


class Model:
    """A model ready to use. Several bundles are one model: their probabilities are averaged.

    Do not use a run's folds as one on faces of their own dataset: all but one have seen each face.

    Args:
      members: bundles with the same heads, age groups and input; or one ONNX file.
      name: name or path that was loaded.

    Attributes:
      members: see Args.
      name: see Args.
    """

    def __init__(self, members: Sequence[Member | OnnxModel], name: str):
        self.members, self.name = tuple(members), name
        self._answers: dict[str, Answer] = {}

    @property
    def description(self) -> Description:
        """Description of the first member; heads, age groups and input are those of all."""
        return self.members[0].description

    @property
    def config(self) -> Json:
        """Content of the first member's config.json."""
        return self.description.to_json()

    @property
    def heads(self) -> Mapping[str, tuple[str, ...]]:
        """Class names per task, in the order of the probabilities."""
        return self.description.heads

    @property
    def is_onnx(self) -> bool:
        """True for an ONNX file."""
        return isinstance(self.members[0], OnnxModel)

    @property
    def crops(self) -> str:
        """Views that an ONNX file averages; "center" for bundles, which take any."""
        first = self.members[0]
        return first.crops if isinstance(first, OnnxModel) else "center"

    @property
    def variables(self) -> Variables:
        """Weights, mean and std of the only member.

        Raises:
          InputError: there are several members, or the only one is an ONNX file.
        """
        first = self.members[0]
        if len(self.members) > 1 or isinstance(first, OnnxModel):
            raise InputError(f"{self.name}: not a single bundle; use `members`")
        return first.variables

    def push_to_hub(
        self, to: str, *, private: bool | None = None, message: str = "", revision: str = ""
    ) -> str:
        """Uploads the bundle, its card and its terms to the Hugging Face hub; returns the commit's URL.

        `bundle.from_pretrained(to)` loads it again. Needs a log-in: `hf auth login` or HF_TOKEN.

        Args:
          to: "owner/name", a repository that is made if it is absent.
          private: True for a private one; None for the owner's default. One that exists stays as it is.
          message: message of the commit.
          revision: branch to write to; "" for the main one.

        Raises:
          InputError: several bundles, an ONNX file, not a name, or the hub does not take it.
        """
        (first, *others) = self.members
        if others or isinstance(first, OnnxModel):
            raise InputError(f"{self.name}: not a single bundle; push one of `runs/NAME/fold_K`")
        return hub.upload(
            first.path,
            to,
            FILES,
            message=message or f"Age and gender from a face: {', '.join(self.heads)}",
            private=private,
            revision=revision or None,
        )

    def prepare(self, content: bytes) -> np.ndarray:
        """Decodes an image to uint8[resize, resize, 3], RGB, exactly as in training.

        Raises:
          images.BadImageError: the bytes are not a usable image.
        """
        spec = self.description.input
        return images.square(content, spec.resize, interpolation=spec.interpolation)

    def answer(
        self,
        mesh: Mesh | None = None,
        *,
        crops: str = "center",
        members: Sequence[int] = (),
        quick: bool = False,
        features: bool = False,
    ) -> Answer:
        """Compiles images -> probabilities per task for a mesh.

        Args:
          mesh: devices to compute on, over which a batch is split; default the first of this process.
            onnxruntime chooses its own for an ONNX file.
          crops: views per face: one of CROPS; ignored for an ONNX file.
          members: indices of the members to use; default all.
          quick: True for a few faces: compiles several times as fast, and answers somewhat slower.
          features: True to add "features", float32[b, f]: the trunk's output, which the heads take,
            averaged over the views.

        Raises:
          InputError: features of an ONNX file, or of several members, whose features differ in meaning.
        """
        mesh = mesh or make_mesh(jax.local_devices()[:1])
        chosen, each = [self.members[k] for k in members] or self.members, []
        if features and (self.is_onnx or len(chosen) > 1):
            what = "an .onnx file gives" if self.is_onnx else "the models of a run share"
            raise InputError(f"{self.name}: {what} no features; name a bundle or one fold")
        for member in chosen:
            if isinstance(member, OnnxModel):
                return lambda faces: member(np.asarray(faces))
            each.append(member.answer(mesh, crops, quick=quick, features=features))
        if len(each) == 1:
            return each[0]

        def mean(faces: Any) -> Mapping[str, Any]:
            found = [answer(faces) for answer in each]
            return jax.tree.map(lambda *parts: sum(parts) / len(parts), *found)

        return mean

    def __call__(self, faces: Any, *, crops: str = "center") -> Mapping[str, Any]:
        """Gives probabilities per task, float[b, classes].

        A head for years trained by l1 or huber gives one column, the age itself. The first call for each
        batch size compiles.

        Args:
          faces: uint8[b, resize, resize, 3], RGB, as from `prepare`.
          crops: views whose probabilities are averaged, one of CROPS.
        """
        if crops not in self._answers:
            self._answers[crops] = self.answer(crops=crops)
        return self._answers[crops](faces)

    def ages(self, probabilities: Mapping[str, Any]) -> metrics.Ages:
        """Ages in years, their std, and age groups, from the probabilities of a call.

        The head for years decides if there is one, else the head for age groups.

        Raises:
          InputError: the model has neither head.
        """
        task = next((task for task in ("years", "age") if task in probabilities), None)
        if task is None:
            raise InputError(f"{self.name}: no head for ages")
        return metrics.ages(np.asarray(probabilities[task]), self.description.classes(task))

    def described(self) -> Json:
        """Object `model` of result.json; `sha256` is null for several members."""
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
