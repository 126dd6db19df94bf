"""Loading of models by name or path: a bundle, a name on the hub, a run's fold, a run, an .onnx file."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict

from ageflax.bundle import files, licences
from ageflax.bundle.description import Description
from ageflax.bundle.inference import Variables
from ageflax.bundle.model import Member, Model, Network
from ageflax.bundle.onnx import OnnxModel
from ageflax.errors import InputError, one_line
from ageflax.weights import hub, shipped
from ageflax.weights.formats import foreign


@functools.lru_cache(maxsize=16)  # tracing takes as long as reading the weights of a small network
def shapes_of(network: Network) -> Mapping[str, tuple[int, ...]]:
    """Shapes of all arrays in a bundle's weights file by name; allocates nothing."""
    spec = network.description.input
    drawn: Any = jax.eval_shape(
        lambda: network.module.init(
            jax.random.key(0), jnp.zeros(spec.preprocessing.shape, jnp.float32)
        )
    )
    leaves: dict[str, Any] = flatten_dict(drawn, sep="/")
    shapes = {path: leaf.shape for path, leaf in leaves.items()}
    shapes |= {"mean": (spec.resize, spec.resize, 3), "deviation": (1, 1, 3)}
    return MappingProxyType(shapes)


def member(source: Path | str) -> Member:
    """Loads one bundle, and says nothing of its terms; see `load`."""
    found = files.of(source)
    description = Description.from_json(found.description(), found.name)
    if found.origin is not None:
        source_with_hub = description.source | {"hub": found.origin}
        description = dataclasses.replace(description, source=source_with_hub)
    network = Network(description)
    try:
        shapes = shapes_of(network)
    except InputError as error:
        raise InputError(f"{found.name}: {error}") from error
    # JAX and Flax raise many things for sizes that are valid alone but make no network together.
    except Exception as error:
        first = one_line(str(error) or type(error).__name__, 200)
        raise InputError(f"{found.name}: no network can be built from it: {first}") from error
    tensors = found.tensors(shapes)
    tree = unflatten_dict({tuple(path.split("/")): value for path, value in tensors.items()})
    variables = Variables(
        tree["params"], tree.get("batch_stats", {}), tree["mean"], tree["deviation"]
    )
    return Member(description, network, variables, found.directory)


def _check_alike(members: Sequence[Member]) -> None:
    """Raises InputError if bundles differ in heads, input or age groups."""
    first = members[0]
    for member in members:
        for key in ("heads", "input", "intervals", "reading"):
            if getattr(member.description, key) != getattr(first.description, key):
                name = {"intervals": "age_groups", "reading": "estimated_age"}.get(key, key)
                raise InputError(f"{member.path}: its {name} differ from those of {first.path}")


def _tell(members: Sequence[Member]) -> None:
    """Logs the terms of bundles; those of the default model once per process, with their file."""
    for one in members:
        if one.path == shipped.FOLDER:
            licences.tell_default(one.description, one.path / files.LICENCE)
    licences.tell(one.description for one in members if one.path != shipped.FOLDER)


def _model(sources: Sequence[Path | str], name: str) -> Model:
    members = [member(each) for each in sources]
    _tell(members)
    _check_alike(members)
    return Model(members, name)


def load(source: Path | str = shipped.NAME) -> Model:
    """Loads a bundle from a folder or from the Hugging Face hub.

    Terms of its data that may bind its user are logged, as a warning of the logger "ageflax". Loading
    takes little more memory than the network, whatever the files contain.

    Args:
      source: folder of a bundle or of a run's fold; "hf://owner/name[@revision]", which is downloaded
        once, and description.source["hub"] has its commit; or "default", the model of the package.

    Raises:
      InputError: the bundle is absent, damaged or invalid.
    """
    source = shipped.located(source)
    return _model([source], str(source))


def ensemble(run: Path | str | Sequence[Path]) -> Model:
    """Loads the models of a run's folds, or several bundles, as one model.

    Args:
      run: folder of a run, or folders of bundles.

    Raises:
      InputError: there is no bundle, one cannot be read, or they differ in heads or input.
    """
    if not isinstance(run, str | Path):
        return _model(list(run), ", ".join(map(str, run)))
    directories = files.fold_bundles(Path(run))
    if not directories:
        raise InputError(f"{run}: not a run with a finished fold (fold_K/bundle)")
    return _model(directories, str(run))


def _bundles(path: Path) -> list[Path]:
    """Bundles in a folder; or the folder itself, if it is one."""
    if (path / "bundle").is_dir():
        return [path / "bundle"]
    if (path / "model.safetensors").exists():
        return [path]
    if folds := sorted(path.glob("fold_*")):
        if found := [fold / "bundle" for fold in folds if (fold / "bundle").is_dir()]:
            return found
        raise InputError(f"--model={path}: a run without a finished fold: no fold_K/bundle")
    if (path / "checkpoints").is_dir():
        raise InputError(
            f"--model={path}: an unfinished fold; finish it with the command that started its run"
        )
    told = foreign.told(path) or "neither a bundle (config.json, model.safetensors) nor a run"
    raise InputError(f"--model={path}: {told}")


def open_model(source: Path | str) -> Model:
    """Loads a model by name or path, and logs its terms like `load`.

    Args:
      source: a bundle, a run's fold_K, a run, an .onnx file, hf://owner/name[@revision], or default,
        the model of the package.

    Raises:
      InputError: the model is absent or cannot be read, or a run's folds differ in heads or input.
    """
    source = shipped.located(source)
    if hub.is_name(str(source)):
        repository = str(hub.repository(str(source)))
        return _model([repository], repository)
    path = Path(source)
    try:
        is_file, is_folder = path.is_file(), path.is_dir()
    except OSError as error:  # such as a name that is too long
        raise InputError(f"--model={str(path)[:200]}: {error.strerror or error}") from error
    if is_file:
        if path.suffix != ".onnx":
            raise InputError(f"--model={path}: {files.not_a_bundle(path)}")
        model = OnnxModel(path)
        licences.tell([model.description])
        return Model([model], str(path))
    if not is_folder:
        raise InputError(f"--model={path}: no such file or folder")
    return _model(_bundles(path), str(path))


def from_pretrained(source: Path | str = shipped.NAME, *, revision: str = "") -> Model:
    """Loads a model by name or path, as `open_model`, named as the hub's own libraries name one.

    Args:
      source: as for `open_model`; "owner/name" without hf:// is on the hub, unless it is here.
      revision: branch, tag or commit on the hub.

    Raises:
      InputError: see `open_model`; or a revision of something that is not on the hub.
    """
    name = str(source)
    if hub.is_bare_name(name) and not Path(name).exists():
        name = f"hf://{name}"
    if not revision:
        return open_model(name)
    if not hub.is_name(name):
        raise InputError(f"revision = {revision!r}: {name} is not a name on the hub; leave it out")
    return open_model(f"{name}@{revision}")
