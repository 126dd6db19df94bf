"""Which kind of device a training step is traced for, so that layers can take the form it runs best."""

import contextlib
import contextvars
from collections.abc import Iterator

_current: contextvars.ContextVar[str] = contextvars.ContextVar("platform", default="")


@contextlib.contextmanager
def traced_for(platform: str) -> Iterator[None]:
    """Layers traced inside are compiled for "cpu", "gpu" or "tpu", whatever JAX's own default is.

    Set by the steps from the mesh's devices: a step for a TPU may be traced on a machine without one.
    """
    token = _current.set(platform)
    try:
        yield
    finally:
        _current.reset(token)


def platform() -> str:
    """What `traced_for` says; "" outside of it."""
    return _current.get()
