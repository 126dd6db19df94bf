"""The machine that a benchmark ran on, as its result states it."""

import datetime
import importlib.metadata
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from ageflax import __version__

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy")


def memory() -> int:
    """Bytes of the memory that states lie in: a device's, or the host's."""
    statistics = jax.devices()[0].memory_stats() or {}
    return statistics.get("bytes_limit") or (
        os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    )


def _processor() -> str:
    """Model of the CPU, where the system tells."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def describe(module: str, words: Sequence[str]) -> dict[str, Any]:
    """Processor, devices, versions, date and load, and the command that measured.

    Args:
      module: the benchmark's, as in `python -m`.
      words: its arguments.
    """
    versions = {"ageflax": __version__, "python": platform.python_version()}
    kinds = [device.device_kind for device in jax.devices()]
    return {
        "cpu": _processor(),
        "cores": os.cpu_count(),
        "memory_gb": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9,
        "load_before": os.getloadavg()[0],
        "platform": jax.default_backend(),
        "devices": {kind: kinds.count(kind) for kind in sorted(set(kinds))},
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": versions | {name: importlib.metadata.version(name) for name in _PACKAGES},
        "command": ["python", "-m", module, *words],
    }


def headline(machine: dict[str, Any]) -> str:
    """What `describe` found, in a line."""
    devices = ", ".join(f"{count} {kind}" for kind, count in machine["devices"].items())
    versions = machine["versions"]
    return (
        f"{machine['cpu']}, {machine['cores']} cores, load {machine['load_before']:.1f} before;"
        f" devices: {devices}; {machine['date'][:10]}, Python {versions['python']},"
        f" ageflax {versions['ageflax']}, jax {versions['jax']}"
    )
