"""Every face of a split through the network once, and what comes of it.

What is named here is imported when it is first used: `python -m ageflax.evaluate --help`, which runs
this file, should not wait for JAX.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ageflax.evaluate._ages import Ages, ages, expected
    from ageflax.evaluate._figures import INTERVALS_OF, answers, figures, scores, temperatures
    from ageflax.evaluate._predict import Predictions, predict
    from ageflax.evaluate._read import read_predictions
    from ageflax.evaluate._write import write_predictions

__all__ = [
    "INTERVALS_OF",
    "Ages",
    "Predictions",
    "ages",
    "answers",
    "expected",
    "figures",
    "predict",
    "read_predictions",
    "scores",
    "temperatures",
    "write_predictions",
]

# The module of each public name.
_MODULES = {
    **dict.fromkeys(("Ages", "ages", "expected"), "_ages"),
    **dict.fromkeys(("INTERVALS_OF", "answers", "figures", "scores", "temperatures"), "_figures"),
    **dict.fromkeys(("Predictions", "predict"), "_predict"),
    "read_predictions": "_read",
    "write_predictions": "_write",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
