"""What an exported model computes: from pixels to probabilities and years, in one function."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from ageflax import labels, losses
from ageflax.augment import photometric
from ageflax.augment.views import Preprocessing, eval_views
from ageflax.bundle import onnx
from ageflax.bundle.model import Model
from ageflax.errors import InputError
from ageflax.training import program

LAYOUTS = ("nhwc_rgb_uint8", "nchw_bgr_float")
CROPS = ("center", "mirror", "ten")


@dataclasses.dataclass(frozen=True)
class Serving:
    """A model as it is to be served.

    Attributes:
      model: the bundle; its network computes in float32, whatever it was trained in.
      layout: of the input, one of LAYOUTS: decoded faces as the model's dataset has them, from which
        the crop is taken inside; or the crop itself, N, C, H, W, BGR, 0-255, as the ONNX zoo's age and
        gender models take it.
      crops: views whose probabilities are averaged.
    """

    model: Model
    layout: str
    crops: str

    @property
    def _network(self) -> nn.Module:
        described = {**self.model.config["architecture"], "dtype": "float32"}
        return program.network_of(described, self.model.objectives)

    @property
    def _preprocessing(self) -> Preprocessing:
        spec = self.model.config["input"]
        return Preprocessing(crop=spec["crop"], mirror=False, channels=spec["channels"])

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of one face as it is given."""
        spec = self.model.config["input"]
        if self.layout == "nchw_bgr_float":
            return 3, spec["crop"], spec["crop"]
        return spec["resize"], spec["resize"], 3

    @property
    def dtype(self) -> np.dtype:
        """Of a face as it is given."""
        return np.dtype(np.float32 if self.layout == "nchw_bgr_float" else np.uint8)

    @property
    def outputs(self) -> dict[str, tuple[int, ...]]:
        """Names of what is computed, each with its shape a face."""
        found: dict[str, tuple[int, ...]] = {
            onnx.output_name(task): (objective.classes,)
            for task, objective in self.model.objectives.items()
            if objective.distribution
        }
        if {"years", "age"} & self.model.objectives.keys():
            found[onnx.AGE] = ()
        return found

    def _views(self, images: jax.Array) -> jax.Array:
        """float32[b, views, crop, crop, c] of faces as they are given."""
        mean, deviation = self.model.mean, self.model.deviation
        if self.layout == "nhwc_rgb_uint8":
            return eval_views(
                images, mean, self._preprocessing, crops=self.crops, deviation=deviation
            )
        crop, channels = self._preprocessing.crop, self._preprocessing.channels
        if mean.shape[0] != 1:  # the part of it that lies under the crop
            top, left = ((size - crop) // 2 for size in mean.shape[:2])
            mean = mean[top : top + crop, left : left + crop]
        bgr = jnp.transpose(images, (0, 2, 3, 1))
        if channels == "bgr":
            return ((bgr - mean[..., ::-1].copy()) / deviation[..., ::-1].copy())[:, None]
        rgb = (bgr[..., ::-1] - mean) / deviation
        return (photometric.luma(rgb) if channels == "grey" else rgb)[:, None]

    def __call__(self, variables: Mapping[str, Any], images: jax.Array) -> tuple[jax.Array, ...]:
        """What `outputs` names, in its order.

        Args:
          variables: the network's.
          images: faces, of `shape` and `dtype`.
        """
        views = self._views(images)
        faces, count = views.shape[:2]
        flat = views.reshape(-1, *views.shape[2:])
        scores: Any = self._network.apply(dict(variables), flat, train=False)
        probabilities = {}
        for task, values in scores.items():
            each = self.model.objectives[task].probabilities(values)
            if count > 1:
                each = each.reshape(faces, count, -1).mean(1)
            probabilities[task] = each
        found = {
            onnx.output_name(task): values
            for task, values in probabilities.items()
            if self.model.objectives[task].distribution
        }
        if "years" in probabilities:
            found[onnx.AGE] = losses.expected(probabilities["years"])
        elif "age" in probabilities:
            intervals = tuple((low, high) for low, high in self.model.config["age_groups"])
            centres = jnp.array(labels.centres(intervals), jnp.float32)
            found[onnx.AGE] = probabilities["age"] @ centres
        return tuple(found.values())

    def given(self, faces: np.ndarray) -> np.ndarray:
        """Faces in the layout of the input, of uint8[b, resize, resize, 3], RGB."""
        if self.layout == "nhwc_rgb_uint8":
            return faces
        crop = self._preprocessing.crop
        top, left = ((size - crop) // 2 for size in faces.shape[1:3])
        part = faces[:, top : top + crop, left : left + crop, ::-1]
        return np.ascontiguousarray(part.transpose(0, 3, 1, 2), np.float32)

    def expected(self, probabilities: dict[str, Any]) -> dict[str, np.ndarray]:
        """What `outputs` names, of the probabilities per task that the bundle itself gives."""
        found = {
            onnx.output_name(task): np.asarray(values)
            for task, values in probabilities.items()
            if self.model.objectives[task].distribution
        }
        if onnx.AGE in self.outputs:
            found[onnx.AGE] = self.model.ages(probabilities).years
        return found

    @property
    def reference(self) -> Model:
        """The bundle, computing in float32."""
        return dataclasses.replace(self.model, network=self._network)


def serving(model: Model, *, layout: str, crops: str) -> Serving:
    """A model as it is to be served.

    Raises:
      InputError: the layout takes one crop alone, or a weight is no number.
    """
    if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(model.variables)):
        raise InputError("the model is damaged: it has weights that are no numbers")
    if layout == "nchw_bgr_float" and crops != "center":
        raise InputError(
            f"--crops={crops}: --layout={layout} is given the crop itself, so that there is no other"
        )
    return Serving(model, layout, crops)
