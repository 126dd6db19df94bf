"""config.json of a run: written at its first start, held against every later one."""

import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ageflax import __version__
from ageflax import config as configuration
from ageflax.config import Config
from ageflax.errors import InputError
from ageflax.runtime import files, hosts

# Where things lie, and with how many hands they are read, may differ between hosts.
_OF_A_HOST = ("data.dir", "data.manual_dir", "data.memory_share", "data.workers")
_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy", "pillow")


def _environment() -> dict[str, Any]:
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
    source: dict[str, Any],
    weights: dict[str, Any] | None,
    command: Sequence[str],
) -> None:
    """Writes config.json on a first start; later checks that this is the same experiment.

    Raises:
      InputError: the folder cannot be written, or belongs to another config or other data.
    """
    path = workdir / "config.json"
    remedy = "restore it or choose another --workdir"  # removed, folds of two recipes could mix
    before = files.read_json(path, remedy=remedy)
    if before is None:
        described = {"config": config.to_dict(), "data": source, **_environment()}
        described |= {"weights": weights, "command": list(command)}
        files.write_json(path, described)
        return
    try:
        differing = configuration.differing_keys(before["config"], config)
        fingerprint = before["data"]["fingerprint"]
        old, new = (w["sha256"] if w else None for w in (before.get("weights"), weights))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: not the record of a run; {remedy}") from error
    if fingerprint != source["fingerprint"]:
        differing.append(f"data: {fingerprint} -> {source['fingerprint']}")
    if old != new:
        differing.append(f"weights: sha256 {old} -> {new}")
    if differing:
        raise InputError(
            f"{workdir} holds a run with another config; differing: {'; '.join(differing)}."
            " Choose another --workdir"
        )


def check_same(config: Config, source: dict[str, Any]) -> None:
    """Raises InputError where a host was started with another config, or has other data."""
    same = {k: v for k, v in configuration.flatten(config) if k not in _OF_A_HOST}
    told = json.dumps([same, source["fingerprint"]], sort_keys=True, default=str)
    own = np.frombuffer(hashlib.sha256(told.encode()).digest(), np.uint8)
    if (hosts.from_writer(own) != own).any():
        raise InputError(
            f"process {jax.process_index()} was started with another config than process 0, or has other"
            " data; start all with the same words"
        )
