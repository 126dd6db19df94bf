"""Faults of the environment, which JAX reports by tracebacks, as one line each."""

import os
import re
import sys

from ageflax.errors import RunError, first_line, one_line

_NO_MEMORY = re.compile(
    r"RESOURCE_EXHAUSTED|OUT_OF_MEMORY|out of memory|DNN library initialization failed"
    r"|no supported devices found"
)
_NO_START = re.compile(r"Unable to initialize backend '(\w+)': (.*?)( \(set JAX| \(you may|$)")


def fault(error: Exception) -> str | None:
    """Message for an error that the environment caused; None for any other error.

    Args:
      error: an exception raised by JAX, or a RunError caused by one.
    """
    text = str(error.__cause__ if isinstance(error, RunError) else error)
    if "Disallowed" in text and "transfer" in text:
        guards = [f"{k}={v}" for k, v in os.environ.items() if k.startswith("JAX_TRANSFER_GUARD")]
        return f"{', '.join(guards)}: forbids the transfers of every batch; unset it"
    if isinstance(error, RunError):
        return None
    if isinstance(error, ValueError) and _raised_in(error) == "jax._src.config":
        return f"{first_line(error)}; correct or unset that variable of the environment"
    failed = _NO_START.search(first_line(error))
    if _NO_MEMORY.search(text) and (failed or type(error).__name__ == "JaxRuntimeError"):
        return (
            f"the device has too little free memory ({one_line(first_line(error), 200)}); end other"
            " programs on it (nvidia-smi lists them), choose another by CUDA_VISIBLE_DEVICES, or set"
            " JAX_PLATFORMS=cpu or data.placement=host"
        )
    if failed:
        return _of_platform(failed[1], one_line(failed[2], 200))
    if isinstance(error, AssertionError) and _without_devices():
        return _of_platform("cuda", "known backends")
    return None


def _of_platform(platform: str, reason: str) -> str:
    """Message for a platform that does not start."""
    asked = os.environ.get("JAX_PLATFORMS")
    if platform == "tpu":
        why = f'no TPU that JAX can use ({reason}); on a TPU VM pip install "ageflax[tpu]"'
    elif "known backends" not in reason:
        why = f"JAX cannot start it ({reason}); repair its driver"
    elif platform in ("cuda", "rocm"):
        why = 'no GPU that JAX can use; check nvidia-smi and pip install "ageflax[cuda]"'
    else:
        why = "JAX has no such platform; name cuda or tpu"
    return f"{f'JAX_PLATFORMS={asked}' if asked else platform}: {why}, or set JAX_PLATFORMS=cpu"


def _without_devices() -> bool:
    """True if JAX finds no device; JAX_PLATFORMS=cuda without a GPU is an assertion without a word."""
    if "jax" not in sys.modules:
        return False
    try:
        sys.modules["jax"].devices()
    except AssertionError:
        return True
    return False


def _raised_in(error: Exception) -> str:
    """Module that raised an error."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace.tb_frame.f_globals.get("__name__", "") if trace is not None else ""
