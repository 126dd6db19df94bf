"""Where a bundle's files lie, a folder or a repository of the hub, and how far they are believed.

Links are followed, since the hub's cache is made of them; what they point to must be a file of the right
kind, and nothing of its content is ever shown.
"""

import contextlib
import dataclasses
import errno
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict
from safetensors import SafetensorError
from safetensors.numpy import save_file

from ageflax.bundle import card
from ageflax.bundle.description import FORMATS, MOST_BYTES, Description, Json, read
from ageflax.errors import InputError
from ageflax.runtime.files import replacing
from ageflax.weights import hub
from ageflax.weights.formats import safetensors

CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
_MOST_CARD = 1_000_000
# Of a weights file, besides the numbers themselves, which may be of eight bytes each.
_MOST_HEADER, _MOST_BYTES_EACH = 1_000_000, 8


@dataclasses.dataclass(frozen=True)
class Files:
    """The files of one bundle.

    Attributes:
      name: for messages.
      directory: where they lie.
      get: a file by its name; one of more bytes than are given is refused.
      origin: of the hub: repository, revision that was asked for, and commit; else None.
    """

    name: str
    directory: Path
    get: Callable[[str, int], Path]
    origin: Json | None = None

    def description(self) -> Json:
        """config.json, of a known format.

        Raises:
          InputError: it is absent, no JSON, or of another format.
        """
        config = read(self.get(CONFIG, MOST_BYTES))
        if (found := config.get("format")) not in FORMATS or found is True:
            shown = repr(found)[:60]
            raise InputError(f"{self.name}: bundle format {shown} is not known")
        return config

    def tensors(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
        """The weights, if they are those of a network.

        Args:
          shapes: that they must have, by name. `mean` may be of one pixel instead of the whole image,
            and `deviation` may be absent, as in the first format.

        Raises:
          InputError: the file is absent, damaged, larger than these can be, or other numbers lie in it.
        """
        numbers = sum(math.prod(shape) for shape in shapes.values())
        path = self.get(WEIGHTS, _MOST_HEADER + _MOST_BYTES_EACH * numbers)
        tensors = safetensors.read(path)
        tensors.setdefault("deviation", np.ones((1, 1, 3), np.float32))
        found = {name: values.shape for name, values in tensors.items()}
        wanted = dict(shapes)
        for name in ("mean", "deviation"):
            if found.pop(name, ()) not in ((1, 1, 3), wanted.pop(name)):
                raise InputError(f"{path}: its mean or deviation does not fit its input")
        differing = sorted(
            name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name)
        )
        if differing:
            name = differing[0]
            raise InputError(
                f"{path}: its weights are not those of its architecture: {len(differing)} differ, such"
                f" as {name}: {found.get(name, 'absent')} in the file, {wanted.get(name, 'absent')}"
                " expected"
            )
        for name, values in tensors.items():
            if values.dtype != np.float32:
                raise InputError(f"{path}: {name}: dtype {values.dtype}, expected float32")
            spread = name == "deviation" or name.endswith("/var")
            if spread and (values < 0).any():
                raise InputError(f"{path}: {name} has negative values, which no variance has")
        if not tensors["deviation"].all():
            raise InputError(f"{path}: deviation is zero, and is divided by")
        return tensors


def write(
    directory: Path, description: Description, variables: Mapping[str, Any], *, mean: Any, std: Any
) -> None:
    """Writes a bundle of any weights, trained here or not.

    Args:
      directory: created if absent; a bundle in it is replaced.
      description: content of its config.json, but for the number of parameters.
      variables: "params" of the network, and "batch_stats" where it has some.
      mean: float32[h, w, 3], RGB, of the decoded size or 1x1.
      std: float32[1, 1, 3], RGB.

    Raises:
      OSError: the disk does not take it; the bundle that was there is as it was.
    """
    directory.mkdir(parents=True, exist_ok=True)
    tensors = {
        path: np.ascontiguousarray(jax.device_get(value))
        for path, value in flatten_dict(
            {**variables, "mean": mean, "deviation": std}, sep="/"
        ).items()
    }
    parameters = sum(v.size for k, v in tensors.items() if k.startswith("params/"))
    # The weights become those of the description last, when all of it is on disk.
    with replacing(directory / WEIGHTS) as temporary:
        try:
            save_file(tensors, temporary, metadata={"format": "ageflax"})
        except SafetensorError as error:  # "...: No space left on device (os error 28)"
            raise OSError(errno.EIO, str(error).rpartition(": ")[2]) from error
        card.write(directory, dataclasses.replace(description, parameters=parameters).to_json())


def _bundle_in(directory: Path) -> Path:
    """The folder itself, or of a run's fold its bundle."""
    if next(directory.glob("fold_*/bundle"), None) is not None:
        raise InputError(
            f"{directory}: a run of several folds; give one fold's bundle, or use bundle.ensemble"
        )
    return directory / "bundle" if (directory / "bundle").is_dir() else directory


def _of_folder(directory: Path) -> Files:
    try:
        directory = _bundle_in(directory)
    except OSError as error:  # such as a name too long to be one
        raise InputError(f"{str(directory)[:200]}: {error.strerror or error}") from error

    def get(name: str, most_bytes: int) -> Path:
        path = directory / name
        try:
            if not path.is_file():
                raise InputError(f"{directory}: no bundle, {name} is absent")
            size = path.stat().st_size
        except OSError as error:
            raise InputError(f"{path}: {error.strerror or error}") from error
        if size > most_bytes:
            raise InputError(f"{path}: {size} bytes, more than the {most_bytes} it may have")
        return path

    return Files(str(directory), directory, get)


def _of_hub(repository: hub.Repository) -> Files:
    """All files are of the commit that the revision is at when the first is asked for."""
    first = repository.download(CONFIG, most_bytes=MOST_BYTES)
    pinned = hub.Repository(repository.name, first.revision)

    def get(name: str, most_bytes: int) -> Path:
        path = pinned.download(name, most_bytes=most_bytes).path
        if name == WEIGHTS:
            # The card is for people: what has none can be used all the same.
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
    """The files of a bundle's folder, of a run's fold, or of hf://owner/name[@revision].

    Raises:
      InputError: the folder is a run of several folds, or the hub does not give the repository.
    """
    if hub.is_name(str(source)):
        return _of_hub(hub.repository(str(source)))
    return _of_folder(Path(source))
