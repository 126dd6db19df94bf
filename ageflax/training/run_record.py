"""config.json of a run: written at the first start, compared at every later one."""

import hashlib
import importlib.metadata
import json
import platform
import shlex
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np

from ageflax import __version__
from ageflax import config as configuration
from ageflax.config import Config
from ageflax.errors import InputError
from ageflax.runtime import files, hosts
from ageflax.runtime.files import Json
from ageflax.training.checkpoints import jax_settings, matmul_precision

# Keys that may differ between hosts: folders, memory and workers.
_OF_A_HOST = ("data.dir", "data.manual_dir", "data.memory_share", "data.workers")
_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy", "pillow")


def _environment() -> Json:
    """Versions and devices, for config.json and the report."""
    versions = {"ageflax": __version__, "python": platform.python_version()}
    versions |= {name: importlib.metadata.version(name) for name in _PACKAGES}
    kinds = [device.device_kind for device in jax.devices()]
    return {
        "versions": versions,
        "devices": {kind: kinds.count(kind) for kind in sorted(set(kinds))},
        "platform": jax.default_backend(),
    }


def claim(
    workdir: Path,
    config: Config,
    source: Json,
    weights: Json | None,
    command: Sequence[str],
) -> None:
    """Writes config.json at the first start; later, checks that config, data and weights are the same.

    Args:
      workdir: folder of the run.
      config: resolved config.
      source: description of the data.
      weights: provenance of the initial weights; None if drawn.
      command: words of the command.

    Raises:
      InputError: the folder holds a run with another config, other data or other weights.
    """
    path = workdir / "config.json"
    remedy = "restore it or choose another --workdir"  # removing it could mix folds of two recipes
    before = files.read_json(path, remedy=remedy)
    if before is None:
        described = {"config": config.to_dict(), "data": source, **_environment()}
        described |= {"weights": weights, "command": list(command)}
        files.write_json(path, described)
        return
    try:
        differing = configuration.differing_keys(before["config"], config)
        fingerprint = before["data"]["fingerprint"]
        was, now = ((data.get("source") or {}).get("digest") for data in (before["data"], source))
        old, new = (w["sha256"] if w else None for w in (before.get("weights"), weights))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: not the record of a run; {remedy}") from error
    if fingerprint != source["fingerprint"]:
        differing.append(f"data: {fingerprint} -> {source['fingerprint']}")
    elif was and now and was != now:  # the labels are the same, the photographs are not
        differing.append(f"data: built from other files: {was} -> {now}")
    if old != new:
        differing.append(f"weights: sha256 {old} -> {new}")
    if differing:
        remedy = _longer(workdir, before["config"], config, command)
        if not remedy or len(differing) > 1:
            remedy = "choose another --workdir"
        raise InputError(
            f"{workdir} holds a run with another config; differing: {'; '.join(differing)}; {remedy}"
        )


def _longer(workdir: Path, before: Json, config: Config, command: Sequence[str]) -> str:
    """Command that trains the models of a run on; "" unless the config asks for more steps."""
    key = "steps" if config.epochs is None else "epochs"
    old, new = before.get(key), getattr(config, key)
    if not isinstance(old, int | float) or new <= old:
        return ""
    options: dict[str, object] = {
        f"--config.{key}": new - old,
        "--config.transfer.weights": workdir / "fold_{fold}",
        "--config.transfer.reset": "()",
        "--workdir": f"{workdir}_{new}_{key}",
    }
    for name in ("revision", "sha256"):
        if getattr(config.transfer, name):  # of another file of weights
            options[f"--config.transfer.{name}"] = ""
    rest, kept = iter(command), []
    for word in rest:
        if word in options:
            next(rest, None)  # its value is a word of its own
        elif word.partition("=")[0] not in options:
            kept.append(word)
    words = shlex.join([*kept, *(f"{name}={value}" for name, value in options.items())])
    folds = (4,) if config.eval.protocol == "hold_out" else config.folds
    finished = all((workdir / f"fold_{fold}" / "result.json").is_file() for fold in folds)
    first = "" if finished else f"finish it with {key} = {old}, then "
    return (
        f"its learning rate and optimizer end at {old} {key}, so {first}train its models on, in a run"
        f" of their own, by: {words}"
    )


def check_same(config: Config, source: Json) -> None:
    """Raises InputError if a host has another config or other data than process 0."""
    same = {k: v for k, v in configuration.flatten(config) if k not in _OF_A_HOST}
    settings = jax_settings() | {"matmul_precision": matmul_precision()}
    told = json.dumps([same, source["fingerprint"], settings], sort_keys=True, default=str)
    own = np.frombuffer(hashlib.sha256(told.encode()).digest(), np.uint8)
    if (hosts.from_writer(own) != own).any():
        raise InputError(
            f"process {jax.process_index()} has another config than process 0, other data or other"
            " settings of JAX; start all with the same command and environment"
        )
