"""A stand-in for the model that comes with the package, or none."""

from pathlib import Path

import pytest

from ageflax.bundle import licences
from ageflax.weights import shipped


def use(folder: Path, patch: pytest.MonkeyPatch) -> Path:
    """Makes a folder the default model's; its terms have not been told yet. Returns it."""
    licences._tell_once.cache_clear()
    patch.setattr(shipped, "FOLDER", folder)
    return folder
