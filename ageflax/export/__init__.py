"""Models for elsewhere: a bundle as ONNX or StableHLO, proven to answer alike.

What is named here is imported when it is first used: `python -m ageflax.export --help`, which runs
this file, should not wait for JAX.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ageflax.export.verification import Differences
    from ageflax.export.write import Written, export

__all__ = ["Differences", "Written", "export"]

# The module of each public name.
_MODULES = {"Differences": "verification", "Written": "write", "export": "write"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
