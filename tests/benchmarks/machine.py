"""Description of the machine for a benchmark's result."""

import datetime
import importlib.metadata
import math
import os
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.extend
import numpy as np

from ageflax import __version__

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy")


def memory() -> int:
    """Bytes of memory for training states: the device's, or the host's."""
    statistics = jax.devices()[0].memory_stats() or {}
    return statistics.get("bytes_limit") or (
        os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    )


def _processor() -> str:
    """Model of the CPU, if the system states it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def environment(*left_out: str) -> dict[str, str]:
    """This process's environment without some variables, for child processes.

    Bytecode is kept, as for an installed package: without it a start mostly compiles modules.
    """
    left_out = (*left_out, "PYTHONDONTWRITEBYTECODE")
    return {name: value for name, value in os.environ.items() if name not in left_out}


def clock() -> float:
    """Seconds of a monotonic clock."""
    return time.perf_counter()


def matrix_product_tflops(dtype: str, *, side: int = 0) -> float:
    """Best rate of a large matrix product on this machine, an upper bound for any network.

    Args:
      dtype: dtype of the operands.
      side: side of the square matrices; 0 is 2048 on a CPU, 8192 elsewhere.
    """
    side = side or (2048 if jax.default_backend() == "cpu" else 8192)
    left, right = (
        jax.random.normal(jax.random.key(k), (side, side)).astype(dtype) for k in range(2)
    )
    # A chain of products, which hides the dispatch.
    count = 1 if jax.default_backend() == "cpu" else 20
    scale = np.asarray(side**-0.5, left.dtype)

    def chain(left: jax.Array, right: jax.Array) -> jax.Array:
        return jax.lax.fori_loop(0, count, lambda _, x: (x @ right) * scale, left)

    product = jax.jit(chain)
    jax.block_until_ready(product(left, right))
    best = float("inf")
    for _ in range(5):
        started = clock()
        jax.block_until_ready(product(left, right))
        best = min(best, clock() - started)
    return count * 2 * side**3 / best / 1e12


def product_gflop(function: Callable[..., Any], *arguments: Any) -> float:
    """GFLOP of a function's matrix products and convolutions, a multiply-add counted as two.

    Counted in the traced program, since not every backend knows the cost before compilation. All branches of
    a condition count, and one iteration of a while loop.

    Args:
      function: function of arrays.
      arguments: arrays, or their shapes.
    """
    return _products(jax.make_jaxpr(function)(*arguments).jaxpr) / 1e9


def _products(jaxpr: Any) -> float:
    found = 0.0
    for equation in jaxpr.eqns:
        name, given = equation.primitive.name, equation.params
        if name == "dot_general":
            (contracted, _), _ = given["dimension_numbers"]
            sides = equation.invars[0].aval.shape
            terms = math.prod(sides[axis] for axis in contracted)
            found += 2.0 * equation.outvars[0].aval.size * terms
        elif name == "conv_general_dilated":
            kernel = equation.invars[1].aval
            outputs = kernel.shape[given["dimension_numbers"].rhs_spec[0]]
            found += 2.0 * equation.outvars[0].aval.size * kernel.size / outputs
        inner = [
            part for value in given.values() for part in jax.tree.leaves(value, is_leaf=_traced)
        ]
        times = given.get("length", 1) if name == "scan" else 1
        found += times * sum(_products(getattr(p, "jaxpr", p)) for p in inner if _traced(p))
    return found


def _traced(value: Any) -> bool:
    return isinstance(value, jax.extend.core.Jaxpr | jax.extend.core.ClosedJaxpr)


def describe(module: str, words: Sequence[str]) -> dict[str, Any]:
    """Processor, devices, versions, date and load, and the command that measured.

    Args:
      module: module name for `python -m`.
      words: arguments of the command.
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
    """One line of the findings of `describe`."""
    devices = ", ".join(f"{count} {kind}" for kind, count in machine["devices"].items())
    versions = machine["versions"]
    return (
        f"{machine['cpu']}, {machine['cores']} cores, load {machine['load_before']:.1f} before;"
        f" devices: {devices}; {machine['date'][:10]}, Python {versions['python']},"
        f" ageflax {versions['ageflax']}, jax {versions['jax']}"
    )
