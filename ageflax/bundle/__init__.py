"""Bundles: deployable models with weights, labels and preprocessing in one folder, never pickled.

The folder holds config.json (architecture, heads with class names, input, provenance),
model.safetensors and README.md, the model card.
"""

from ageflax.bundle.description import Description
from ageflax.bundle.files import write
from ageflax.bundle.loading import ensemble, from_pretrained, load, open_model
from ageflax.bundle.model import Model

__all__ = ["Description", "Model", "ensemble", "from_pretrained", "load", "open_model", "write"]
