"""Public names of a package, imported on first use: importing the package itself stays cheap."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def attach(package: str, modules: Mapping[str, str]) -> Callable[[str], Any]:
    """Makes a package's module-level `__getattr__`.

    Args:
      package: the package's `__name__`.
      modules: defining module of each public name, relative to the package.
    """

    def module_getattr(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.{modules[name]}"), name)

    return module_getattr
