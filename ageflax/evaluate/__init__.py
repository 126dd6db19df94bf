"""Every face of a split through the network once, and what comes of it.

What is named here is imported when it is first used: `python -m ageflax.evaluate --help`, which runs
this file, should not wait for JAX.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ageflax.evaluate._evaluate import (
        Ages,
        Predictions,
        ages,
        expected,
        figures,
        predict,
        write_predictions,
    )

__all__ = ["Ages", "Predictions", "ages", "expected", "figures", "predict", "write_predictions"]

# The module of each public name.
_MODULES = dict.fromkeys(__all__, "_evaluate")


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
