"""A foreign file's weights under our paths, whichever format it is of."""

import dataclasses
import re
from pathlib import Path

import numpy as np

from ageflax.errors import InputError, one_line
from ageflax.weights.formats import caffe, onnx_graph, pytorch, safetensors
from ageflax.weights.matching import match, names

FORMATS = ("caffe", "torch", "onnx")


@dataclasses.dataclass(frozen=True)
class Foreign:
    """Weights as they were found.

    Attributes:
      trunk: by path, such as "params/trunk/conv1/kernel".
      kernel: float32[outputs, features] of the last layer; None where the file has none.
      bias: float32[outputs].
      left_out: what has no part in our network, for the user.
    """

    trunk: dict[str, np.ndarray]
    kernel: np.ndarray | None
    bias: np.ndarray | None
    left_out: list[str]


def _of_graph(path: Path, arch: str, *, crop: int, framework: str) -> Foreign:
    # Caffe's ResNets have the stride elsewhere.
    networks = ("levi_hassner", "vgg16") if framework == "caffe" else match.MATCHED
    if arch not in networks:
        raise InputError(
            f"--arch={arch}: from {framework}, weights are imported for {', '.join(networks)}"
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
    if arch not in names.LAYOUTS:
        raise InputError(
            f"--arch={arch}: from torch, weights are imported for {', '.join(names.LAYOUTS)}"
        )
    with path.open("rb") as file:
        is_safetensors = file.read(9)[8:] == b"{"
    tensors = (safetensors if is_safetensors else pytorch).read(path)
    trunk, left_out = names.to_ours(tensors, model_name=arch, channels=None, origin=str(path))
    last = names.classifier(tensors, origin=str(path))
    # The classifier's own names are not left out, they are looked at next.
    left_out = [
        name for name in left_out if last is None or not re.fullmatch(names.CLASSIFIER, name)
    ]
    return Foreign(trunk, *(last or (None, None)), left_out)


def read(path: Path, framework: str, arch: str, *, crop: int) -> Foreign:
    """Reads a file of weights; nothing in it is run.

    Args:
      path: of a .caffemodel, of a .safetensors or .pth, or of an .onnx file.
      framework: which of FORMATS.
      arch: the network of ours that they are for.
      crop: side in pixels of what it sees.

    Raises:
      InputError: it cannot be read, or is of another network.
    """
    if not path.is_file():
        raise InputError(f"{path}: {'a folder, not a' if path.is_dir() else 'no such'} file")
    if framework == "torch":
        return _of_torch(path, arch)
    return _of_graph(path, arch, crop=crop, framework=framework)
