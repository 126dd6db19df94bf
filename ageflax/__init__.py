"""Age and gender from a face, in JAX.

`ageflax.load` and `ageflax.Predictor` are imported on first use: `import ageflax` does not wait for JAX.
"""

from typing import TYPE_CHECKING

from ageflax.runtime import lazy

if TYPE_CHECKING:
    from ageflax.bundle import load
    from ageflax.predict.predictor import Predictor

__all__ = ["Predictor", "__version__", "load"]
__version__ = "0.1.0"

__getattr__ = lazy.attach(__name__, {"load": "bundle", "Predictor": "predict.predictor"})
