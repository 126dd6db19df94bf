"""The page: a photograph or the camera in a browser, and a REST endpoint that answers the same.

`python -m ageflax.demo --model=MODEL` serves it; `application` is the ASGI application, for a server of
one's own.

What is named here is imported when it is first used: `python -m ageflax.demo --help`, which runs this
file, should not wait for JAX.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ageflax.demo.app import application
    from ageflax.demo.limits import Limits

__all__ = ["Limits", "application"]

# The module of each public name.
_MODULES = {"application": "app", "Limits": "limits"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
