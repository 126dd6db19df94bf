"""Files of a bundle, in a folder or a repository of the hub: written, found and checked.

Links are followed, as the hub's cache consists of them. Messages never show a file's content.
"""

import contextlib
import dataclasses
import errno
import math
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict
from safetensors import SafetensorError
from safetensors.numpy import save_file

from ageflax.bundle import card
from ageflax.bundle.description import FORMATS, MOST_BYTES, Description, read
from ageflax.errors import InputError
from ageflax.runtime.files import Json, replacing
from ageflax.weights import hub
from ageflax.weights.formats import foreign, precision, safetensors

CONFIG, WEIGHTS, CARD, LICENCE = "config.json", "model.safetensors", "README.md", "LICENSE"
FILES = (CONFIG, WEIGHTS, CARD, LICENCE)  # the last only where terms need a file of their own
_MOST_CARD = 1_000_000
# Limits of a weights file: bytes of its header, and bytes per number.
_MOST_HEADER, _MOST_BYTES_EACH = 1_000_000, 8


@dataclasses.dataclass(frozen=True)
class Files:
    """Files of one bundle.

    Attributes:
      name: name of the bundle, for messages.
      directory: folder of the files.
      get: function from a file's name and largest size in bytes to its path; refuses larger files.
      origin: repository, requested revision and commit on the hub; None for a local folder.
    """

    name: str
    directory: Path
    get: Callable[[str, int], Path]
    origin: Json | None = None

    def description(self) -> Json:
        """Reads config.json, of a known format.

        Raises:
          InputError: the file is absent, not JSON, or of an unknown format.
        """
        config = read(self.get(CONFIG, MOST_BYTES))
        if (found := config.get("format")) not in FORMATS or found is True:
            shown = repr(found)[:60]
            raise InputError(f"{self.name}: bundle format {shown} is not known")
        return config

    def tensors(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
        """Reads the weights and checks that they fit a network.

        Args:
          shapes: expected shapes by name. `mean` may also be of one pixel, and `deviation` absent, as in
            format 1.

        Raises:
          InputError: the file is absent, damaged or too large, or has other shapes or invalid values.
        """
        numbers = sum(math.prod(shape) for shape in shapes.values())
        path = self.get(WEIGHTS, _MOST_HEADER + _MOST_BYTES_EACH * numbers)
        tensors = safetensors.read(path)
        tensors.setdefault("deviation", np.ones((1, 1, 3), np.float32))
        found = {name: values.shape for name, values in tensors.items()}
        wanted = dict(shapes)
        for name in ("mean", "deviation"):
            if found.pop(name, ()) not in ((1, 1, 3), wanted.pop(name)):
                raise InputError(f"{path}: mean or deviation does not fit the input's size")
        differing = sorted(
            name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name)
        )
        if differing:
            name = differing[0]
            raise InputError(
                f"{path}: weights do not fit the architecture: {len(differing)} differ, such as {name}:"
                f" {found.get(name, 'absent')} in the file, expected {wanted.get(name, 'absent')}"
            )
        for name, values in tensors.items():
            if values.dtype != np.float32:
                raise InputError(f"{path}: {name}: dtype {values.dtype}, expected float32")
            spread = name == "deviation" or name.endswith("/var")
            if spread and (values < 0).any():
                raise InputError(f"{path}: {name} has negative values, expected a variance")
        if not tensors["deviation"].all():
            raise InputError(f"{path}: deviation has zeros, expected positive divisors")
        return tensors


def write(
    directory: Path, description: Description, variables: Mapping[str, Any], *, mean: Any, std: Any
) -> None:
    """Writes a bundle, of weights trained here or elsewhere.

    Args:
      directory: folder of the bundle, made if absent; a bundle in it is replaced.
      description: content of config.json; the number of parameters is added. Its `storage` decides
        the precision of the weights.
      variables: collections of the network: "params", and "batch_stats" if it has batch norm.
      mean: float32[h, w, 3], RGB, of the decoded size or 1x1.
      std: float32[1, 1, 3], RGB, per-channel divisor.

    Raises:
      OSError: the disk refuses a file; an earlier bundle stays as it was.
    """
    directory.mkdir(parents=True, exist_ok=True)
    tensors = {
        path: np.ascontiguousarray(jax.device_get(value))
        for path, value in flatten_dict(
            {**variables, "mean": mean, "deviation": std}, sep="/"
        ).items()
    }
    parameters = sum(v.size for k, v in tensors.items() if k.startswith("params/"))
    stored = precision.reduced(tensors, description.storage.get("precision", "float32"))
    # The weights are replaced last, once the description is on disk.
    with replacing(directory / WEIGHTS) as temporary:
        try:
            save_file(stored, temporary, metadata={"format": "ageflax"})
        except SafetensorError as error:  # "...: No space left on device (os error 28)"
            raise OSError(errno.EIO, str(error).rpartition(": ")[2]) from error
        card.write(directory, dataclasses.replace(description, parameters=parameters).to_json())
        # The library makes files that their owner alone can read.
        shutil.copymode(directory / CONFIG, temporary)


def fold_bundles(run: Path) -> list[Path]:
    """Bundles of a run's finished folds, in order.

    Raises:
      InputError: the path cannot be one, such as a name that is too long or has a NUL.
    """
    try:
        return sorted(run.glob("fold_*/bundle"))
    except OSError as error:
        raise InputError(f"{str(run)[:200]}: {error.strerror or error}") from error
    except ValueError as error:  # Python 3.13, for a NUL
        raise InputError(f"{str(run)[:200]}: {error}") from error


def not_a_bundle(path: Path) -> str:
    """Says what a file is and what to do with it, after its name in a message."""
    if path.suffix == ".onnx":
        return "an .onnx file, not a bundle; give it to bundle.open_model"
    if path.name in FILES and all((path.parent / name).is_file() for name in (CONFIG, WEIGHTS)):
        return f"not an .onnx file; for a bundle, name its folder: {path.parent}"
    try:
        told = foreign.told(path)
    except OSError as error:
        return str(error.strerror or error)
    return told or "not an .onnx file; for a bundle, name its folder"


def _of_folder(directory: Path) -> Files:
    if fold_bundles(directory):
        raise InputError(
            f"{directory}: a run of several folds; name one fold_K, or use bundle.ensemble"
        )
    try:
        if directory.is_file():
            raise InputError(f"{directory}: {not_a_bundle(directory)}")
        directory = directory / "bundle" if (directory / "bundle").is_dir() else directory
    except OSError as error:
        raise InputError(f"{str(directory)[:200]}: {error.strerror or error}") from error

    def get(name: str, most_bytes: int) -> Path:
        path = directory / name
        try:
            if not path.is_file():
                raise InputError(f"{directory}: not a bundle: {name} is absent")
            size = path.stat().st_size
        except OSError as error:
            raise InputError(f"{path}: {error.strerror or error}") from error
        if size > most_bytes:
            raise InputError(f"{path}: {size} bytes, more than the limit of {most_bytes}")
        return path

    return Files(str(directory), directory, get)


def _of_hub(repository: hub.Repository) -> Files:
    """Files of the commit at which the revision is when the first file is requested."""
    first = repository.download(CONFIG, most_bytes=MOST_BYTES)
    pinned = hub.Repository(repository.name, first.revision)

    def get(name: str, most_bytes: int) -> Path:
        path = pinned.download(name, most_bytes=most_bytes).path
        if name == WEIGHTS:
            # The card is optional: only people read it.
            with contextlib.suppress(InputError):
                pinned.download(CARD, most_bytes=_MOST_CARD)
        return path

    return Files(
        str(repository),
        first.path.parent,
        get,
        {
            "repository": repository.name,
            "revision": repository.revision or None,
            "commit": first.revision,
        },
    )


def of(source: Path | str) -> Files:
    """Finds the files of a bundle: a folder, a run's fold, or hf://owner/name[@revision].

    Raises:
      InputError: the folder is a run of several folds, or the hub refuses the repository.
    """
    if hub.is_name(str(source)):
        return _of_hub(hub.repository(str(source)))
    return _of_folder(Path(source))
