"""Transfers weights of one network to another, and reports arrays taken, initialized and misfitting."""

import dataclasses
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ageflax.arrays import Params
from ageflax.config import Config
from ageflax.errors import InputError
from ageflax.runtime.files import read_json
from ageflax.weights import hub, packages, shipped
from ageflax.weights.formats import dlib, safetensors
from ageflax.weights.matching.names import some, to_ours

_FILE = "model.safetensors"
_NO_REVISION = "transfer.revision needs a name on the hub, but transfer.weights {}"
_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".pkl", ".ckpt", ".dat")


@dataclasses.dataclass(frozen=True)
class Loaded:
    """Weights under our paths.

    Attributes:
      tensors: path, such as "params/trunk/conv1/kernel" -> array.
      left_out: names in the file that are not used, such as a classifier's.
      provenance: JSON values: source, revision, sha256, and the licence if stated.
      described: content of the bundle's config.json, unchecked; {} for weights that are no bundle's.
      normalization: the bundle's own `mean` and `deviation`, for a test without training.
    """

    tensors: dict[str, np.ndarray]
    left_out: list[str]
    provenance: dict[str, Any]
    described: Any = dataclasses.field(default_factory=dict)
    normalization: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Report:
    """Fate of each array.

    Attributes:
      taken: paths taken from the source.
      reset: paths that keep their initial values.
      left_out: paths of the source that the network lacks or resets.
      resized: the ViT's position embedding, if made for another number of patches.
    """

    taken: list[str]
    reset: list[str]
    left_out: list[str]
    resized: list[str]

    def lines(self) -> list[str]:
        """Lines for the user."""
        line = f"{len(self.taken)} arrays transferred, {len(self.reset)} initialized"
        line += f" ({some(self.reset)})" if self.reset else ""
        line += f"; not used: {some(self.left_out)}" if self.left_out else ""
        line += f"; resized to this input: {some(self.resized)}" if self.resized else ""
        return [line]


def _name(path: str) -> str:
    """Path without "params/" or "batch_stats/", as in patterns and messages."""
    return path.partition("/")[2]


def _layer(path: str) -> str:
    return _name(path).rpartition("/")[0]


def _resized(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    """Resizes a position embedding to another grid of patches, bicubic; None if no grid is square.

    The class token's, which is first, has no place in the grid and stays.
    """
    if values.ndim != 2 or len(shape) != 2 or values.shape[1] != shape[1] or len(values) < 2:
        return None
    before, after = (round((n - 1) ** 0.5) for n in (len(values), shape[0]))
    if before**2 != len(values) - 1 or after**2 != shape[0] - 1:
        return None
    grid = jnp.asarray(values[1:], jnp.float32).reshape(before, before, -1)
    grid = jax.image.resize(grid, (after, after, shape[1]), "cubic")
    return np.concatenate([values[:1], np.asarray(grid).reshape(after * after, -1)])


def _matcher(reset: Sequence[str], names: Sequence[str]) -> Callable[[str], bool]:
    """Predicate of names to reset; every pattern must match one of `names`."""
    for pattern in reset:
        try:
            matches = any(re.fullmatch(pattern, name) for name in names)
        except re.error as error:
            raise InputError(
                f"transfer.reset: {pattern!r} is not a regular expression: {error}"
            ) from None
        if not matches:
            raise InputError(f"transfer.reset: {pattern!r} matches none of {some(names)}")
    return lambda name: any(re.fullmatch(pattern, name) for pattern in reset)


def _wrong(name: str, value: np.ndarray, drawn: Any) -> str:
    """Fault of a tensor in place of an initial one, or ""."""
    if value.shape != drawn.shape:
        return f"{name}: {drawn.shape} here, {value.shape} in the file"
    if value.dtype.kind != "f":
        return f"{name}: dtype {value.dtype} in the file, expected float32"
    if not np.isfinite(value).all():
        return f"{name}: has values that are not finite"
    if name.endswith("/var") and (value < 0).any():
        return f"{name}: has negative variances"
    return ""


def _problems(missing: list[str], no_place: list[str], wrong: list[str]) -> str:
    problems = [f"missing: {some(missing)}"] if missing else []
    problems += [f"no place for: {some(no_place)}"] if no_place else []
    problems += [some(wrong, "; ")] if wrong else []
    return "; ".join(problems)


def transferred(
    params: Params, batch_stats: Params, loaded: Loaded, *, reset: Sequence[str]
) -> tuple[Params, Params, Report]:
    """Replaces initial weights by another network's, except those to reset.

    Args:
      params: initial parameters, {"trunk": ..., "heads": ...}; the balance of the losses always stays.
      batch_stats: initial statistics, which are reset with their layer's parameters.
      loaded: weights of the other network.
      reset: regular expressions over paths such as "heads/age/kernel".

    Returns:
      Trees with the structure, dtypes and shapes of those given, and the fate of each array.

    Raises:
      InputError: a pattern matches nothing; or arrays, which are listed, are missing, have no place, or
        have another shape or dtype or unusable values.
    """
    leaves, structure = jax.tree_util.tree_flatten_with_path((params, batch_stats))
    fresh = {
        "/".join((("params", "batch_stats")[first.idx], *(str(key.key) for key in keys))): leaf
        for (first, *keys), leaf in leaves
    }
    own = [_name(path) for path in fresh if path.startswith("params/")]
    is_reset = _matcher(reset, own)

    def stays(name: str) -> bool:
        return name.startswith("balance/") or is_reset(name)

    kept_layers = {_layer(f"params/{name}") for name in own if not stays(name)}
    report = Report([], [], list(loaded.left_out), [])
    result, missing, wrong = [], [], []
    for path, drawn in fresh.items():
        name, value = _name(path), loaded.tensors.get(path)
        fresh_layer = path.startswith("batch_stats/") and _layer(path) not in kept_layers
        if stays(name) or fresh_layer:
            result.append(drawn)
            report.reset.append(name)
            continue
        if value is None:
            missing.append(name)
            continue
        if name.endswith("position_embedding") and value.shape != drawn.shape:
            resized = _resized(value, drawn.shape)
            if resized is not None:
                report.resized.append(name)
                value = resized
        if problem := _wrong(name, value, drawn):
            wrong.append(problem)
        result.append(np.asarray(value).astype(drawn.dtype))
        report.taken.append(name)
    no_place = []
    for path in sorted(loaded.tensors.keys() - fresh.keys()):
        (report.left_out if stays(_name(path)) else no_place).append(_name(path))
    if problems := _problems(missing, no_place, wrong):
        raise InputError(
            f"transfer.weights = {loaded.provenance['source']} does not fit: {problems}; name arrays to"
            " initialize in transfer.reset"
        )
    return (*jax.tree_util.tree_unflatten(structure, result), report)


def _bundle(directory: Path, source: str) -> Path:
    """Finds the weights in a folder: a bundle's, or those of a fold's bundle."""
    for candidate in (directory, directory / "bundle"):
        if (candidate / _FILE).is_file():
            return candidate / _FILE
    fold = next(iter(sorted(directory.glob("fold_*"))), None)
    hint = f"; name one of its folds, such as {fold}" if fold else ""
    raise InputError(f"transfer.weights = {source!r}: no {_FILE} in it{hint}")


def _located(source: str, *, revision: str, sha256: str) -> tuple[Path, dict[str, Any]]:
    """Finds the weights file and its provenance, which has a sha256 if the hub checked it."""
    path = Path(shipped.located(source))
    stated: dict[str, Any] = {"source": source, "revision": None, "licence": None}
    try:
        is_folder, is_file = path.is_dir(), path.is_file()
    except OSError as error:
        raise InputError(f"transfer.weights = {source!r}: {error.strerror}") from error
    if is_folder or is_file or source.endswith(_SUFFIXES):
        if revision:
            raise InputError(_NO_REVISION.format("is a path"))
        path = _bundle(path, source) if is_folder else path
        # Without the folders above, which differ between machines.
        stated["source"] = "/".join(path.parts[-4:-1]) if is_folder else path.name
        return path, stated
    if not re.fullmatch(r"(hf://)?[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", source):
        raise InputError(
            f"transfer.weights = {source!r}: neither a file, nor a bundle's folder, nor a name on the"
            " hub such as timm/resnet34.tv_in1k, nor weights of a package:"
            f" {', '.join(packages.PACKAGED)}"
        )
    fetched = hub.fetch(source, revision=revision, sha256=sha256)
    return fetched.path, stated | {"revision": fetched.revision, "sha256": fetched.sha256}


def _stated(described: Any, group: str, key: str) -> str | None:
    """Text of a bundle's config.json, which is untrusted; None if absent."""
    for part in (group, key):
        described = described.get(part) if isinstance(described, dict) else None
    return described if isinstance(described, str) else None


def trained_on(described: Any) -> dict[str, Any] | None:
    """Fingerprint of a bundle's training data, and its test fold.

    `before` is the same for the bundle from which its own training started, if any, and `teachers`
    for those from which it learned; the fold is None if no faces were held out.
    """
    fingerprint = _stated(described, "data", "fingerprint")
    source = described.get("source") if isinstance(described, dict) else None
    fold = source.get("fold") if isinstance(source, dict) else None
    if fingerprint is None or not isinstance(source, dict) or not isinstance(fold, int | None):
        return None
    weights, teachers = source.get("weights"), source.get("teachers")
    before = weights.get("trained_on") if isinstance(weights, dict) else None
    found = {"fingerprint": fingerprint, "fold": fold, "before": before}
    if isinstance(teachers, list):
        found["teachers"] = [each.get("trained_on") for each in teachers if isinstance(each, dict)]
    return found


def _check_description(described: Any, source: str, *, model_name: str, channels: str) -> None:
    for group, key, asked, name in (
        ("architecture", "name", model_name, "model.name"),
        ("input", "channels", channels, "data.channels"),
    ):
        other = _stated(described, group, key)
        if other is not None and other != asked:
            raise InputError(
                f"transfer.weights = {source!r} has {name} = {other!r}, but the config has {asked!r}"
            )


def load(
    source: str, *, model_name: str, channels: str, revision: str = "", sha256: str = ""
) -> Loaded:
    """Loads weights from a .safetensors or .dat file, a bundle, a run's fold, a package, or the hub.

    Args:
      source: path, key of packages.PACKAGED, or name on the hub, a path that exists coming first; or
        "default", the model of this package.
      model_name: network to load them for.
      channels: channels of its input: rgb, bgr or grey.
      revision: revision of the hub's repository.
      sha256: expected checksum of the weights file.

    Raises:
      InputError: the weights are absent, cannot be read, or belong to another network.
    """
    if source in packages.PACKAGED and not Path(source).exists():
        if revision:
            raise InputError(_NO_REVISION.format("names a package's weights"))
        tensors, provenance = packages.read(source, model_name=model_name, sha256=sha256)
        ours, left_out = to_ours(tensors, model_name=model_name, channels=channels)
        return Loaded(ours, left_out, provenance)
    path, provenance = _located(source, revision=revision, sha256=sha256)
    tensors = (dlib if path.suffix == ".dat" else safetensors).read(path)
    if "sha256" not in provenance:
        provenance["sha256"] = safetensors.check_sha256(path, sha256)
    if not any(name.startswith("params/") for name in tensors):
        ours, left_out = to_ours(tensors, model_name=model_name, channels=channels)
        return Loaded(ours, left_out, provenance)
    beside = path.parent / "config.json"
    if provenance["revision"]:
        revision = provenance["revision"]
        beside = hub.fetch(source, revision=revision, filename="config.json").path
    described = read_json(
        beside
    )  # damage is an error: the file says on which faces they were trained
    _check_description(described, source, model_name=model_name, channels=channels)
    provenance["licence"] = _stated(described, "data", "licence")
    provenance["trained_on"] = trained_on(described)
    # A bundle's mean belongs to its data; a run that trains has its own.
    normalization = {n: tensors.pop(n) for n in ("mean", "deviation") if n in tensors}
    kept = {n: v for n, v in tensors.items() if n.startswith(("params/", "batch_stats/"))}
    return Loaded(kept, [], provenance, described, normalization)


def of_config(config: Config, *, fold: int | None = None) -> Loaded | None:
    """Loads the weights of a config's `transfer` group; None if it names none.

    Args:
      config: resolved config.
      fold: test fold, which replaces `{fold}` in the weights' path.
    """
    transfer = config.transfer
    if not transfer.weights:
        return None
    weights = transfer.weights if fold is None else transfer.weights.replace("{fold}", str(fold))
    return load(
        weights,
        model_name=config.model.name,
        channels=config.data.channels,
        revision=transfer.revision,
        sha256=transfer.sha256,
    )
