"""What a training step is traced for, so that layers can take the form that runs best there."""

import contextlib
import contextvars
from collections.abc import Iterator

from jax.sharding import Mesh

_current: contextvars.ContextVar[tuple[str, Mesh | None]] = contextvars.ContextVar(
    "platform", default=("", None)
)


@contextlib.contextmanager
def traced_for(platform: str, mesh: Mesh | None = None) -> Iterator[None]:
    """Layers traced inside are compiled for "cpu", "gpu" or "tpu", whatever JAX's own default is.

    Set by the steps from the mesh's devices: a step for a TPU may be traced on a machine without one.

    Args:
      platform: kind of device.
      mesh: over which the batch is split, where it is.
    """
    token = _current.set((platform, mesh))
    try:
        yield
    finally:
        _current.reset(token)


def platform() -> str:
    """The kind of device that `traced_for` says; "" outside of it."""
    return _current.get()[0]


def mesh() -> Mesh | None:
    """Over which devices the batch is split; None outside of `traced_for`."""
    return _current.get()[1]
