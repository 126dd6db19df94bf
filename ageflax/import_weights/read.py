"""Reads weights from a foreign file of any format, under the paths of ageflax."""

import dataclasses
import re
from pathlib import Path

import numpy as np

from ageflax.errors import InputError, one_line
from ageflax.weights.formats import caffe, dlib, foreign, onnx_graph, pytorch, safetensors
from ageflax.weights.matching import match, names


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
    output = (caffe if framework == "caffe" else onnx_graph).read_graph(path)
    try:
        trunk, last = match.match(output, arch, crop=crop)
    except InputError as error:
        raise InputError(
            f"{path}: {one_line(str(error), 400)}. Networks that can be imported from {framework}:"
            f" {', '.join(foreign.NETWORKS[framework])}"
        ) from error
    kernel = last.tensors["kernel"]
    bias = last.tensors.get("bias", np.zeros(len(kernel), np.float32))
    return Foreign(trunk, kernel, bias, [])


def _of_torch(path: Path, arch: str) -> Foreign:
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


def _of_dlib(path: Path, arch: str) -> Foreign:
    tensors = dlib.read(path)
    trunk, left_out = names.to_ours(tensors, model_name=arch, channels=None, origin=str(path))
    last = max(name.partition(".")[0] for name in tensors if name.startswith("fc"))
    kernel, bias = tensors.get(f"{last}.weight"), tensors.get(f"{last}.bias")
    if bias is None:  # a descriptor, not classes
        return Foreign(trunk, None, None, left_out)
    return Foreign(trunk, kernel, bias, [])


def _check_kind(path: Path, framework: str) -> None:
    """Raises InputError if a file is known to be of another format."""
    found = foreign.kind(path)
    if found is None or found.framework == framework or found is foreign.PICKLE:
        return  # the reader of pickles tells what is in one
    if found.framework:
        raise InputError(f"{path}: {found.name}; use --from={found.framework}")
    raise InputError(f"{path}: {foreign.told(path)}")


def read(path: Path, framework: str, arch: str, *, crop: int) -> Foreign:
    """Reads a file of weights without executing anything in it.

    Args:
      path: .caffemodel, .safetensors, .pth, .onnx or .dat file.
      framework: format of the file, a key of foreign.NETWORKS.
      arch: architecture of ageflax.
      crop: side in pixels of the network's input.

    Raises:
      InputError: the file cannot be read, or holds another network.
    """
    if not path.is_file():
        raise InputError(f"{path}: {'a folder, not a' if path.is_dir() else 'no such'} file")
    if arch not in (networks := foreign.NETWORKS[framework]):
        raise InputError(
            f"--arch={arch}: not importable from {framework}; use one of {', '.join(networks)}"
        )
    _check_kind(path, framework)
    if framework == "torch":
        return _of_torch(path, arch)
    if framework == "dlib":
        return _of_dlib(path, arch)
    return _of_graph(path, arch, crop=crop, framework=framework)
