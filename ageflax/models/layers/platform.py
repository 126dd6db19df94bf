"""Platform that a step is traced for; layers take the form that runs best on it."""

import contextlib
import contextvars
from collections.abc import Iterator

from jax.sharding import Mesh

_current: contextvars.ContextVar[tuple[str, Mesh | None]] = contextvars.ContextVar(
    "platform", default=("", None)
)


@contextlib.contextmanager
def traced_for(platform: str, mesh: Mesh | None = None) -> Iterator[None]:
    """Within, layers are traced for this platform, whatever JAX's default is.

    Steps set it from the mesh's devices: a step for a TPU may be traced on a machine without one.

    Args:
      platform: kind of device: "cpu", "gpu" or "tpu".
      mesh: devices that the batch is split over; None if it is not split.
    """
    token = _current.set((platform, mesh))
    try:
        yield
    finally:
        _current.reset(token)


def platform() -> str:
    """Kind of device given to `traced_for`; "" outside of it."""
    return _current.get()[0]


def mesh() -> Mesh | None:
    """Mesh given to `traced_for`; None outside of it."""
    return _current.get()[1]
