"""Reads weights from a foreign file of any format, under the paths of ageflax."""

import dataclasses
import re
from pathlib import Path

import numpy as np

from ageflax.errors import InputError, one_line
from ageflax.weights.formats import caffe, onnx_graph, pytorch, safetensors
from ageflax.weights.matching import match, names

FORMATS = ("caffe", "torch", "onnx")
_TORCH = tuple(
    name for name in names.LAYOUTS if name != "dlib_face_resnet"
)  # in its own format only


@dataclasses.dataclass(frozen=True)
class Foreign:
    """Weights of a foreign file.

    Attributes:
      trunk: arrays by path, such as "params/trunk/conv1/kernel".
      kernel: float32[outputs, features] of the last layer; None if the file has none.
      bias: float32[outputs]; None if the file has no last layer.
      left_out: names of unused arrays, for the user.
    """

    trunk: dict[str, np.ndarray]
    kernel: np.ndarray | None
    bias: np.ndarray | None
    left_out: list[str]


def _of_graph(path: Path, arch: str, *, crop: int, framework: str) -> Foreign:
    # Caffe's ResNets have their strides in other layers.
    networks = ("levi_hassner", "vgg16") if framework == "caffe" else match.MATCHED
    if arch not in networks:
        raise InputError(
            f"--arch={arch}: not importable from {framework}; use one of {', '.join(networks)}"
        )
    output = (caffe if framework == "caffe" else onnx_graph).read_graph(path)
    try:
        trunk, last = match.match(output, arch, crop=crop)
    except InputError as error:
        raise InputError(
            f"{path}: {one_line(str(error), 400)}. Networks that can be imported from {framework}:"
            f" {', '.join(networks)}"
        ) from error
    kernel = last.tensors["kernel"]
    bias = last.tensors.get("bias", np.zeros(len(kernel), np.float32))
    return Foreign(trunk, kernel, bias, [])


def _of_torch(path: Path, arch: str) -> Foreign:
    if arch not in _TORCH:
        raise InputError(
            f"--arch={arch}: not importable from torch; use one of {', '.join(_TORCH)}"
        )
    with path.open("rb") as file:
        is_safetensors = file.read(9)[8:] == b"{"
    tensors = (safetensors if is_safetensors else pytorch).read(path)
    trunk, left_out = names.to_ours(tensors, model_name=arch, channels=None, origin=str(path))
    last = names.classifier(tensors, origin=str(path))
    # The classifier becomes the heads.
    left_out = [
        name for name in left_out if last is None or not re.fullmatch(names.CLASSIFIER, name)
    ]
    return Foreign(trunk, *(last or (None, None)), left_out)


def read(path: Path, framework: str, arch: str, *, crop: int) -> Foreign:
    """Reads a file of weights without executing anything in it.

    Args:
      path: .caffemodel, .safetensors, .pth or .onnx file.
      framework: format of the file, one of FORMATS.
      arch: architecture of ageflax.
      crop: side in pixels of the network's input.

    Raises:
      InputError: the file cannot be read, or holds another network.
    """
    if not path.is_file():
        raise InputError(f"{path}: {'a folder, not a' if path.is_dir() else 'no such'} file")
    if framework == "torch":
        return _of_torch(path, arch)
    return _of_graph(path, arch, crop=crop, framework=framework)
