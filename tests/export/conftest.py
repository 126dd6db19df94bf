"""Bundles that several files of tests export; not to be written to."""

import pytest

from ageflax.bundle import load
from tests.export import bundles


@pytest.fixture(scope="session")
def joint(tmp_path_factory):
    """A bundle with heads for years and gender, of Levi's network."""
    folder = tmp_path_factory.mktemp("bundles") / "joint"
    return bundles.write(folder, bundles.small("levi_hassner", width=0.05))


@pytest.fixture(scope="session")
def model(joint):
    return load(joint)
