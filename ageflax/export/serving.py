"""The computation of an exported model, from pixels to probabilities and ages, as one function."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ageflax import losses
from ageflax.augment import photometric
from ageflax.bundle import onnx
from ageflax.bundle.description import Input
from ageflax.bundle.inference import Variables, network_variables
from ageflax.bundle.model import Member, Model
from ageflax.errors import InputError

LAYOUTS = ("nhwc_rgb_uint8", "nchw_bgr_float")


@dataclasses.dataclass(frozen=True)
class Serving:
    """A model as it is exported.

    Attributes:
      member: bundle, computing in float32.
      layout: layout of the input, one of LAYOUTS: decoded faces, which the model crops; or the crop
        itself, N, C, H, W, BGR, 0-255, as for the ONNX zoo's age and gender models.
      crops: views whose probabilities are averaged.
    """

    member: Member
    layout: str
    crops: str

    @property
    def model(self) -> Model:
        """The bundle as a model, the reference for exported files."""
        return Model([self.member], str(self.member.path))

    @property
    def variables(self) -> dict[str, Any]:
        """Collections of the network."""
        return network_variables(self.member.variables.params, self.member.variables.batch_stats)

    @property
    def _input(self) -> Input:
        return self.member.description.input

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of one input face."""
        spec = self._input
        if self.layout == "nchw_bgr_float":
            return 3, spec.crop, spec.crop
        return spec.resize, spec.resize, 3

    @property
    def dtype(self) -> np.dtype:
        """Type of the input."""
        return np.dtype(np.float32 if self.layout == "nchw_bgr_float" else np.uint8)

    @property
    def _distributions(self) -> list[str]:
        objectives = self.member.network.objectives
        return [task for task, objective in objectives.items() if objective.distribution]

    @property
    def outputs(self) -> dict[str, tuple[int, ...]]:
        """Shape per face of each output by name."""
        heads = self.member.description.heads
        found: dict[str, tuple[int, ...]] = {
            onnx.output_name(task): (len(heads[task]),) for task in self._distributions
        }
        return found | ({onnx.AGE: ()} if {"years", "age"} & heads.keys() else {})

    def _bgr_views(self, variables: Variables, images: jax.Array) -> jax.Array:
        """Views float32[b, 1, crop, crop, c] from crops N, C, H, W, BGR."""
        mean, std = variables.mean, variables.std
        crop, channels = self._input.crop, self._input.channels
        if mean.shape[0] != 1:  # the mean image is cropped likewise
            top, left = ((size - crop) // 2 for size in mean.shape[:2])
            mean = mean[top : top + crop, left : left + crop]
        bgr = jnp.transpose(images, (0, 2, 3, 1))
        if channels == "bgr":
            return ((bgr - mean[..., ::-1].copy()) / std[..., ::-1].copy())[:, None]
        rgb = (bgr[..., ::-1] - mean) / std
        return (photometric.luma(rgb) if channels == "grey" else rgb)[:, None]

    def __call__(self, variables: Mapping[str, Any], images: jax.Array) -> tuple[jax.Array, ...]:
        """Computes the values of `outputs`, in its order.

        Args:
          variables: collections of the network.
          images: input faces, of `shape` and `dtype`.
        """
        views = self._bgr_views if self.layout == "nchw_bgr_float" else None
        predict = self.member.network.predict(crops=self.crops, views=views)
        own, batch_stats = self.member.variables, variables.get("batch_stats", {})
        probabilities = predict(
            Variables(variables["params"], batch_stats, own.mean, own.std), images
        )
        found = {onnx.output_name(task): probabilities[task] for task in self._distributions}
        if "years" in probabilities:
            years, reading = probabilities["years"], self.member.description.reading
            median = reading == "median"
            found[onnx.AGE] = losses.median(years) if median else losses.expected(years)
        elif "age" in probabilities:
            centres = self.member.description.classes("age").centres
            found[onnx.AGE] = probabilities["age"] @ jnp.array(centres, jnp.float32)
        return tuple(found.values())

    def given(self, faces: np.ndarray) -> np.ndarray:
        """Converts faces uint8[b, resize, resize, 3], RGB, to the layout of the input."""
        if self.layout == "nhwc_rgb_uint8":
            return faces
        crop = self._input.crop
        top, left = ((size - crop) // 2 for size in faces.shape[1:3])
        part = faces[:, top : top + crop, left : left + crop, ::-1]
        return np.ascontiguousarray(part.transpose(0, 3, 1, 2), np.float32)

    def expected(self, probabilities: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Values of `outputs`, from the bundle's own probabilities per task."""
        found = {
            onnx.output_name(task): np.asarray(probabilities[task]) for task in self._distributions
        }
        if onnx.AGE in self.outputs:
            found[onnx.AGE] = self.model.ages(probabilities).years
        return found


def serving(model: Model, *, layout: str, crops: str) -> Serving:
    """Prepares a model for export.

    Args:
      model: one bundle.
      layout: layout of the input, one of LAYOUTS.
      crops: views whose probabilities are averaged.

    Raises:
      InputError: the model is not one bundle, the layout takes only one crop, or a weight is not finite.
    """
    member = model.members[0]
    if len(model.members) > 1 or not isinstance(member, Member):
        raise InputError(f"--model={model.name}: expected one bundle; name a run's fold_K")
    if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(member.variables)):
        raise InputError(f"--model={model.name}: damaged: it has weights that are not finite")
    if layout == "nchw_bgr_float" and crops != "center":
        raise InputError(
            f"--crops={crops}: --layout={layout} takes the crop itself; use --crops=center"
        )
    in_float32 = dataclasses.replace(member.network, dtype="float32")
    return Serving(dataclasses.replace(member, network=in_float32), layout, crops)
