"""A network's weights as the start of another's: what is taken, what is drawn anew, what is wrong."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from ageflax import files as json_files
from ageflax.config import Config
from ageflax.errors import InputError
from ageflax.structs import Params
from ageflax.weights import files, hub
from ageflax.weights.foreign_names import to_ours

_NAMED = 6  # keys named in a message before the rest is counted


@dataclasses.dataclass(frozen=True)
class Loaded:
    """Weights under our paths.

    Attributes:
      tensors: by path, such as "params/trunk/conv1/kernel".
      left_out: names in the file that have no part in it, such as another classifier's.
      provenance: JSON: source, revision, sha256, and the licence where it is stated.
    """

    tensors: dict[str, np.ndarray]
    left_out: list[str]
    provenance: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Report:
    """What became of each array.

    Attributes:
      taken: paths of what was taken over.
      reset: paths of what stays as it was drawn.
      left_out: what the source has and this network has not, or draws anew.
      resized: the ViT's position embedding, where it was made for another number of patches.
    """

    taken: list[str]
    reset: list[str]
    left_out: list[str]
    resized: list[str]

    def lines(self) -> list[str]:
        """For the user."""
        line = f"{len(self.taken)} arrays taken over, {len(self.reset)} drawn anew"
        line += f" ({_some(self.reset)})" if self.reset else ""
        line += f"; not used: {_some(self.left_out)}" if self.left_out else ""
        line += f"; resized to this input: {_some(self.resized)}" if self.resized else ""
        return [line]


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(list(names)[:_NAMED]) + more


def _layer(path: str) -> str:
    return path.partition("/")[2].rpartition("/")[0]


def _resized(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    """A position embedding for another grid of patches; None where it is none of a square grid."""
    if values.ndim != 2 or values.shape[1] != shape[1]:
        return None
    before, after = (round((n - 1) ** 0.5) for n in (len(values), shape[0]))
    if before**2 != len(values) - 1 or after**2 != shape[0] - 1:
        return None
    grid = jnp.asarray(values[1:]).reshape(before, before, -1)
    grid = jax.image.resize(grid, (after, after, shape[1]), "cubic")
    return np.concatenate([values[:1], np.asarray(grid).reshape(after * after, -1)])


def transferred(
    params: Params, batch_stats: Params, loaded: Loaded, *, reset: Sequence[str]
) -> tuple[Params, Params, Report]:
    """Fresh weights with another network's in place of all that is not to be reset.

    Args:
      params: as drawn, {"trunk": ..., "heads": ...}; the balance of the losses always stays.
      batch_stats: likewise; those of a layer follow its parameters.
      loaded: the other network's.
      reset: patterns over paths such as "heads/age/kernel".

    Raises:
      InputError: a pattern matches nothing; or an array is missing, of another shape, or has no place:
        all of them are listed.
    """
    fresh = flatten_dict({"params": params, "batch_stats": batch_stats}, sep="/")
    own = [path.partition("/")[2] for path in fresh if path.startswith("params/")]
    for pattern in reset:
        try:
            matches = any(re.fullmatch(pattern, path) for path in own)
        except re.error as error:
            raise InputError(f"transfer.reset: {pattern!r} is no regular expression: {error}") from None
        if not matches:
            raise InputError(f"transfer.reset: {pattern!r} matches none of {_some(own)}")

    def resets(path: str) -> bool:
        name = path.partition("/")[2]
        return name.startswith("balance/") or any(re.fullmatch(p, name) for p in reset)

    kept_layers = {_layer(p) for p in fresh if p.startswith("params/") and not resets(p)}
    result, report = {}, Report([], [], list(loaded.left_out), [])
    missing, shapes = [], []
    for path, drawn in fresh.items():
        fresh_layer = path.startswith("batch_stats/") and _layer(path) not in kept_layers
        value = loaded.tensors.get(path)
        if resets(path) or fresh_layer:
            result[path] = drawn
            report.reset.append(path.partition("/")[2])
            continue
        if value is not None and value.shape != drawn.shape and path.endswith("position_embedding"):
            value = _resized(value, drawn.shape)
            report.resized.extend([path.partition("/")[2]] if value is not None else [])
            value = loaded.tensors[path] if value is None else value
        if value is None:
            missing.append(path)
        elif value.shape != drawn.shape:
            shapes.append(f"{path}: {drawn.shape} here, {value.shape} in the file")
        else:
            result[path] = np.asarray(value, np.float32)
            report.taken.append(path.partition("/")[2])
    for path in sorted(loaded.tensors.keys() - fresh.keys()):
        heads = path.split("/")[1:2] == ["heads"] and any("heads" in p for p in reset)
        report.left_out.append(path) if heads else shapes.append(f"{path}: not in this network")
    if missing or shapes:
        problems = [f"missing: {_some(missing)}"] if missing else []
        problems += [_some(shapes)] if shapes else []
        raise InputError(
            f"transfer.weights = {loaded.provenance['source']} does not fit: {'; '.join(problems)}."
            " Name what is to be drawn anew in transfer.reset"
        )
    tree = unflatten_dict(result, sep="/")
    return tree["params"], tree.get("batch_stats", {}), report


def _bundle(directory: Path) -> Path | None:
    """The bundle in a folder: itself, or a fold's."""
    for candidate in (directory, directory / "bundle"):
        if (candidate / "model.safetensors").is_file():
            return candidate
    return None


def load(
    source: str, *, model_name: str, channels: str, revision: str = "", sha256: str = ""
) -> Loaded:
    """Weights of a .safetensors file, a bundle, a run's fold, or a name on the hub.

    Args:
      source: which.
      model_name: the network they are for.
      channels: what it sees: rgb, bgr or grey.
      revision: of the hub's repository.
      sha256: expected checksum of the weights file.

    Raises:
      InputError: nothing is there, it cannot be read, or it is of another network.
    """
    path, provenance = Path(source), {"source": source, "revision": None, "licence": None}
    if path.is_dir():
        bundle = _bundle(path)
        if bundle is None:
            raise InputError(f"transfer.weights = {source!r}: no model.safetensors in it")
        path, provenance["source"] = bundle / "model.safetensors", "/".join(bundle.parts[-3:])
    elif path.is_file() or source.endswith((".safetensors", ".pth", ".pt", ".bin", ".pkl")):
        provenance["source"] = path.name
    elif re.fullmatch(r"(hf://)?[\w.-]+/[\w.-]+", source):
        name = source.removeprefix("hf://")
        fetched = hub.fetch(name, revision=revision, sha256=sha256)
        path, provenance["revision"] = fetched.path, fetched.revision
    else:
        raise InputError(
            f"transfer.weights = {source!r}: neither a file, nor a bundle's folder, nor a name on the"
            " hub such as timm/resnet34.tv_in1k"
        )
    tensors = files.read(path)
    provenance["sha256"] = files.check_sha256(path, sha256)
    described = json_files.read_json(path.parent / "config.json") or {}
    if not any(name.startswith("params/") for name in tensors):
        ours, left_out = to_ours(tensors, model_name=model_name, channels=channels)
        return Loaded(ours, left_out, provenance)
    provenance["licence"] = described.get("data", {}).get("licence")
    other = described.get("input", {}).get("channels", channels)
    if other != channels:
        raise InputError(
            f"transfer.weights = {source!r}: its network sees {other}; set data.channels={other}"
        )
    kept = {n: v for n, v in tensors.items() if n.startswith(("params/", "batch_stats/"))}
    return Loaded(kept, [], provenance)


def of_config(config: Config) -> Loaded | None:
    """What a config's `transfer` group starts from; None from scratch."""
    transfer = config.transfer
    if not transfer.weights:
        return None
    return load(
        transfer.weights,
        model_name=config.model.name,
        channels=config.data.channels,
        revision=transfer.revision,
        sha256=transfer.sha256,
    )
